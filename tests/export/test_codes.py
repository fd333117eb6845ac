# SPDX-License-Identifier: Apache-2.0
"""Export codes: model, then codec, the same bytes by every route, and what is measured is what is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from lightning_monocon import MonoCon, codes
from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.candidates import named
from lightning_monocon.export import Export, export_model, load, load_vectors
from lightning_monocon.functional import principal_components
from lightning_monocon.functional.truncation_curve import projected
from lightning_monocon.inference.embed import embed
from lightning_monocon.scorecard.frontier import turned_bits

# two seconds of training lose two points against the encoder, which is warned of
pytestmark = pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")


@pytest.fixture(scope="module")
def exported(trained: MonoCon, digits: LightningDataModule, tmp_path_factory: pytest.TempPathFactory) -> Export:
    gallery, query = digits.test_dataloader()
    out = tmp_path_factory.mktemp("export") / "out"
    return export_model(trained, gallery, query, out, code="transform-5", vectors=True, centre="auto")


@pytest.fixture(scope="module")
def rows(trained: MonoCon, digits: LightningDataModule) -> tuple[Tensor, Tensor]:
    """Whole unit rows of gallery and query."""
    gallery, query = (embed(trained, loader)["embeddings"] for loader in digits.test_dataloader())
    return nn.functional.normalize(gallery), nn.functional.normalize(query)


def bytes_of_numpy(codec: codes.Codec, rows: np.ndarray) -> np.ndarray:
    """The codes by their definition: float64 coordinates, thresholds halfway between levels, bits from the highest."""
    space, quantiser = codec.space, codec.quantiser
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    matrix = space.matrix.double().numpy()
    coordinates = unit @ matrix.T - matrix @ space.mean.double().numpy()
    bits = []
    for j, count in enumerate(quantiser.bits.tolist()):
        levels = quantiser.levels[j, : 2**count].double().numpy()
        place = (coordinates[:, j, None] > (levels[1:] + levels[:-1]) / 2).sum(1)
        bits += [place >> shift & 1 for shift in reversed(range(count))]
    return np.packbits(np.stack(bits, 1).astype(np.uint8), axis=1)


def test_every_form_and_numpy_give_the_same_bytes(exported: Export, digits: LightningDataModule) -> None:
    pytest.importorskip("onnxruntime")
    images = next(iter(digits.test_dataloader()[1]))[0]
    codec = codes.load(exported.folder)
    whole = load(exported.folder)
    for form in ("safetensors", "onnx", "pt2"):
        embedder = load(exported.folder, form, expect=exported.stamp)
        vectors = embedder(images)
        assert vectors.shape == (len(images), 16)
        torch.testing.assert_close(vectors, whole(images), rtol=0, atol=1e-5)
        stored = embedder.encode(images)
        np.testing.assert_array_equal(stored.numpy(), bytes_of_numpy(codec, vectors.numpy()))
        np.testing.assert_array_equal(codec.encode(vectors.numpy()), stored.numpy())
        assert (stored != whole.encode(images)).any(1).double().mean() < 0.01  # a number within rounding of a threshold


def test_what_is_measured_is_what_is_shipped(exported: Export, rows: tuple[Tensor, Tensor]) -> None:
    codec = codes.load(exported.folder)
    stored = load_vectors(exported.folder / "vectors.safetensors", expect=exported.stamp)
    assert (stored["gallery"].dtype, stored["gallery"].shape) == (torch.uint8, (1131, 5))
    nearest = codec.score(rows[1], stored["gallery"]).topk(5).indices
    votes = torch.nn.functional.one_hot(stored["gallery_labels"][nearest]).sum(1)
    right = (votes.argmax(1) == stored["query_labels"])[1::2]  # every second query chose whether to centre
    line = exported.lines[-1]
    assert (line.name, line.bytes) == ("exported, transform-5", 5)
    assert len(line.values["labels"]["5-NN accuracy"]) == len(right)
    assert line.knn_accuracy == pytest.approx(float(right.double().mean()), abs=0.02)  # but for ties
    assert exported.lines[1].name == "encoder, transform-5"
    card = (exported.folder / "README.md").read_text()
    assert "kept as the code transform-5: 5 bytes, where the numbers have 64." in card
    assert "1131 gallery rows, 270 queries" in card
    assert 'codes.load("DIR")' in card


def test_the_codec_is_checked(exported: Export, tmp_path: Path) -> None:
    assert (exported.stamp.format, exported.stamp.storage) == ("lightning-monocon/export/3", "transform-5")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in exported.folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "codec.json").write_text((copy / "codec.json").read_text().replace("transform", "product"))
    with pytest.raises(ValueError, match=r"must hold the files of one export; .*codec.json has the sha256"):
        load(copy)


@pytest.mark.parametrize(("name", "size"), [("float16", 32), ("scalar2-3", 3), ("product-4", 4), ("int8-16", 16)])
def test_any_code_is_shipped(
    name: str, size: int, trained: MonoCon, digits: LightningDataModule, tmp_path: Path, rows: tuple[Tensor, Tensor]
) -> None:
    gallery, query = digits.test_dataloader()
    written = export_model(trained, gallery, query, tmp_path / "out", code=name, forms=[], even_so=True)
    assert written.lines[-1].bytes == size
    again = named(name, 16).fitted(FittingRows.of(rows[0]))[0]
    found = codes.load(written.folder)
    same = (found.encode(rows[1]) == again.encode(rows[1])).double().mean()
    assert same > 0.97  # the chain's own rows differ in their last digit


@pytest.mark.parametrize(
    ("name", "rival"), [("residual-2", "residual-2"), ("residual-3", "product-3"), ("lsq-2", "product-2")]
)
def test_codes_that_take_long_to_fit_are_shipped_beside_a_quick_rival(
    name: str, rival: str, trained: MonoCon, digits: LightningDataModule, tmp_path: Path, rows: tuple[Tensor, Tensor]
) -> None:
    pytest.importorskip("faiss")
    gallery, query = digits.test_dataloader()
    written = export_model(trained, gallery, query, tmp_path / "out", code=name, forms=[], even_so=True)
    assert [line.name for line in (written.lines[1], written.lines[-1])] == [f"encoder, {rival}", f"exported, {name}"]
    found = codes.load(written.folder)
    scores = found.score(rows[1], found.encode(rows[0]))
    assert torch.corrcoef(torch.stack([scores.flatten(), (rows[1] @ rows[0].T).flatten()]))[0, 1] > 0.9


def test_bits_are_turned_and_cosines_stay(trained: MonoCon, digits: LightningDataModule, tmp_path: Path) -> None:
    gallery, query = digits.test_dataloader()
    images = next(iter(digits.test_dataloader()[1]))[0][:64]
    plain, turned = (
        load(export_model(trained, gallery, query, tmp_path / dtype, dim=8, dtype=dtype, forms=[]).folder)
        for dtype in ("float32", "binary")
    )
    first, second = plain(images), turned(images)
    torch.testing.assert_close(first @ first.T, second @ second.T, rtol=0, atol=1e-5)
    evenness = [float(vectors.var(0).min() / vectors.var(0).max()) for vectors in (first, second)]
    assert evenness[1] > 2 * evenness[0]
    np.testing.assert_array_equal(turned.encode(images).numpy(), np.packbits(second.numpy() > 0, axis=1))


def test_the_scorecard_measures_the_bits_that_are_shipped(
    trained: MonoCon, digits: LightningDataModule, tmp_path: Path, rows: tuple[Tensor, Tensor]
) -> None:
    gallery, query = digits.test_dataloader()
    shipped = load(export_model(trained, gallery, query, tmp_path / "out", dim=8, dtype="binary", forms=[]).folder)
    ours = torch.cat([shipped.encode(images) for images, _ in query]).numpy()
    bits = turned_bits(projected(rows[1], principal_components(rows[0]), 8).float(), 8)
    differ = np.unpackbits(ours, axis=1) != (bits.numpy() > 0)
    # bits of numbers within rounding of zero; an axis has either sign, which would change every second bit
    assert differ.mean() < 0.001


class Shifted(nn.Module):
    """Images beside a number that tells nothing and is far from zero."""

    out_features = 65

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.pad(images.flatten(1), (0, 1), value=6.0)


def test_held_out_queries_choose_whether_to_centre(digits: LightningDataModule, tmp_path: Path) -> None:
    gallery, query = digits.test_dataloader()
    found = {}
    for centre in (True, False, "auto"):
        model = MonoCon(Shifted(), "none").eval()
        out = tmp_path / str(centre)
        found[centre] = export_model(model, gallery, query, out, dim=2, forms=[], centre=centre, even_so=True)
    # one of the two uncentred directions is nearly the mean, and tells nothing
    assert found[True].lines[-1].knn_accuracy > found[False].lines[-1].knn_accuracy
    assert found["auto"].stamp == found[True].stamp
    assert found[False].stamp.normalisation == "l2, project, l2"
    assert len(found["auto"].lines[-1].values["labels"]["5-NN accuracy"]) == 270


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"code": "transform-17"},
            "`code` must have 1 to 16 bytes for transform codes of 16 numbers; got transform-17",
        ),
        ({"code": "transform-x"}, "`code` must be a family of .* and its bytes, such as transform-32; got transform-x"),
        ({"code": "transform-4", "dim": 3}, "`dim` must be left out with the code transform-4"),
    ],
)
def test_codes_that_cannot_be_are_refused(
    options: dict[str, object], words: str, trained: MonoCon, digits: LightningDataModule, tmp_path: Path
) -> None:
    gallery, query = digits.test_dataloader()
    with pytest.raises(ValueError, match=words):
        export_model(trained, gallery, query, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []
