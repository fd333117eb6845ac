# SPDX-License-Identifier: Apache-2.0
"""A model that is trained beside an export: its queries find what the export's own vectors hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.plain_runs import trainer
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from lightning_monocon import MonoCon
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.export import Embedder, export_model, load
from lightning_monocon.functional.knn_accuracy import knn_accuracy

# two seconds of training lose two points against the encoder, which is warned of
pytestmark = pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")

KINDS = {"numbers": {"dim": 8}, "a code": {"dtype": "transform-8"}}


@pytest.fixture(scope="module", params=KINDS)
def folder(
    request: pytest.FixtureRequest,
    trained: MonoCon,
    digits: LightningDataModule,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    gallery, query = digits.test_dataloader()
    out = tmp_path_factory.mktemp("old") / "out"
    return export_model(trained, gallery, query, out, forms=[], **KINDS[request.param]).folder


def model(folder: Path | None) -> MonoCon:
    torch.manual_seed(1)
    rates = {"warmup_epochs": 0, "lr_encoder": 5e-3, "lr_head": 5e-3}
    return MonoCon(SmallCNN(widths=(8, 16, 16)), "mlp", out_features=24, compatible_with=folder, **rates)


def embedded(embed: Embedder | MonoCon, digits: LightningDataModule) -> list[tuple[Tensor, Tensor]]:
    with torch.no_grad():
        sides = [[(embed(inputs), labels) for inputs, labels in part] for part in digits.test_dataloader()]
    return [(torch.cat(rows), torch.cat(labels)) for rows, labels in (zip(*side, strict=True) for side in sides)]


@pytest.mark.parametrize("folder", ["numbers"], indirect=True)
def test_new_queries_find_old_rows_where_a_free_model_finds_none(folder: Path, digits: LightningDataModule) -> None:
    old = load(folder)
    (gallery, labels), (own, known) = embedded(old, digits)
    found = {}
    for name, beside in (("beside", folder), ("free", None)):
        new = model(beside)
        trainer(max_epochs=10).fit(new, datamodule=DigitsData(batch_size=128, seed=0))
        rows = embedded(new.eval(), digits)[1][0][:, : old.stamp.dimension]
        found[name] = float(knn_accuracy(gallery, labels, rows, known, 5))
    before = float(knn_accuracy(gallery, labels, own, known, 5))
    assert found["beside"] > 0.75 > 0.5 > found["free"]
    assert before > 0.85, "the old model itself has learnt something"


@pytest.mark.parametrize("folder", ["numbers"], indirect=True)
def test_an_export_to_a_code_asks_the_old_gallery_with_its_first_numbers(
    folder: Path, digits: LightningDataModule, tmp_path: Path
) -> None:
    new = model(folder).eval()
    gallery, query = digits.test_dataloader()
    exported = load(
        export_model(new, gallery, query, tmp_path / "new", dtype="transform-8", forms=[], tolerance=0.1).folder
    )
    images = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        expected = nn.functional.normalize(new(images)[:, :8])
    torch.testing.assert_close(nn.functional.normalize(exported(images)[:, :8]), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("code", ["float32", "int8", "binary"])
@pytest.mark.parametrize("folder", ["numbers"], indirect=True)
def test_codes_of_an_export_ask_the_old_gallery_with_their_first_numbers(
    folder: Path, digits: LightningDataModule, tmp_path: Path, code: str
) -> None:
    new = model(folder).eval()
    loaders = digits.test_dataloader()
    written = export_model(new, *loaders, tmp_path / "new", code=code, forms=[], tolerance=0.1, even_so=True)
    exported = load(written.folder)
    old_gallery = embedded(load(folder), digits)[0][0]
    asked = nn.functional.normalize(embedded(new, digits)[1][0][:, :8])
    vectors = embedded(exported, digits)[1][0]
    stored = exported.calibration.decode(exported.calibration.codes(vectors))[:, :8].float()
    if code == "binary":
        torch.testing.assert_close(stored, asked.sign())
    else:
        nearest = [(rows @ old_gallery.T).topk(10).indices for rows in (asked, stored)]
        shared = [len({*one.tolist()} & {*other.tolist()}) / 10 for one, other in zip(*nearest, strict=True)]
        assert sum(shared) / len(shared) > 0.97
    assert 8 < written.stamp.dimension < 24, "behind them are components of the others"
    assert "The first 8, at unit length, search the gallery" in (written.folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize("folder", ["numbers"], indirect=True)
def test_the_old_numbers_are_given_up_only_where_that_is_asked(
    folder: Path, digits: LightningDataModule, trained: MonoCon, tmp_path: Path
) -> None:
    new, loaders = model(folder).eval(), digits.test_dataloader()
    options = {"forms": [], "tolerance": 0.1, "even_so": True}
    with pytest.raises(ValueError, match=r"`dim` must be at least 8, because the first 8 numbers search the gallery"):
        export_model(new, *loaders, tmp_path / "new", dim=4, **options)
    with pytest.raises(ValueError, match="`compatible` must be left out for a model that was trained without"):
        export_model(trained, *loaders, tmp_path / "new", compatible=True, **options)
    assert not (tmp_path / "new").exists()
    free = export_model(new, *loaders, tmp_path / "new", dim=4, compatible=False, **options)
    assert free.stamp.dimension == 4 and free.description.facts["old_numbers"] == 0


def test_the_module_of_an_export_is_what_made_its_vectors(folder: Path) -> None:
    old, images = load(folder), torch.rand(5, 1, 8, 8)
    assert old.module is not None
    torch.testing.assert_close(old.module(images), old(images), rtol=0, atol=0)
    torch.testing.assert_close(model(folder).old(images), old(images))
    assert not any(part.requires_grad for part in old.module.parameters())


def test_an_export_of_an_encoder_of_ones_own_is_given_as_a_module(digits: LightningDataModule, tmp_path: Path) -> None:
    def encoder() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16))

    gallery, query = digits.test_dataloader()
    own = MonoCon(encoder(), nn.Linear(16, 6, bias=False), in_features=16, out_features=6).eval()
    out = export_model(own, gallery, query, tmp_path / "out", dim=4, forms=[]).folder
    with pytest.raises(ValueError, match="`compatible_with` must be an export whose encoder this package can build"):
        model(out)
    given = load(out, encoder=encoder()).module
    assert MonoCon(encoder(), "mlp", in_features=16, compatible_with=given).old.dimension == 4
