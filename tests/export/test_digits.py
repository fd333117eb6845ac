# SPDX-License-Identifier: Apache-2.0
"""Export of an image model: every form loads back, alone too, and what does not belong together is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.patience import PATIENCE
from lightning.pytorch import LightningDataModule
from oracles.cut import cut
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lightning_monocon import MonoCon
from lightning_monocon.export import (
    Export,
    check_same_space,
    export_model,
    load,
    load_vectors,
    save_vectors,
    stamp_of,
)
from lightning_monocon.inference.embed import embed
from lightning_monocon.scorecard import score_files

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

FORMS = ("safetensors", "onnx", "pt2")
APART = 1e-5  # by which the vectors of two runtimes may differ

# two seconds of training lose two points against the encoder, which is warned of
pytestmark = pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")


@pytest.fixture(scope="module")
def exported(trained: MonoCon, digits: LightningDataModule, tmp_path_factory: pytest.TempPathFactory) -> Export:
    gallery, query = digits.test_dataloader()
    out = tmp_path_factory.mktemp("export") / "int8"
    return export_model(trained, gallery, query, out, dim=6, dtype="int8", vectors=True)


@pytest.fixture(scope="module")
def other(trained: MonoCon, digits: LightningDataModule, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The same model, cut otherwise."""
    gallery, query = digits.test_dataloader()
    out = tmp_path_factory.mktemp("other") / "float32"
    return export_model(trained, gallery, query, out, dim=4, forms=[], vectors=True)


@pytest.fixture(scope="module")
def images(digits: LightningDataModule) -> Tensor:
    return next(iter(digits.test_dataloader()[1]))[0][:33]


def test_every_form_is_the_native_model(
    exported: Export, trained: MonoCon, digits: LightningDataModule, images: Tensor
) -> None:
    gallery = embed(trained, digits.test_dataloader()[0])["embeddings"]
    with torch.no_grad():
        whole = trained(images)
    expected = cut(gallery.numpy(), whole.numpy(), 6)
    for form in FORMS:
        embedder = load(exported.folder, form, expect=exported.stamp)
        vectors = embedder(images)
        signs = np.sign((vectors.double().numpy() * expected).sum(0))
        np.testing.assert_allclose(vectors.numpy() * signs, expected, atol=APART)
        assert embedder(images[:1]).shape == (1, 6)
        assert (embedder.form, embedder.stamp) == (form, exported.stamp)
    assert set(exported.description.facts["largest_difference"]) == set(FORMS)


def test_every_form_loads_where_this_package_is_not(exported: Export, root: Path, images: Tensor) -> None:
    embedder = load(exported.folder)
    vectors = embedder(images)
    features = load_features(exported, images)
    # another runtime's vectors are APART from these, so that a number near the edge of a step gets the next code
    codes = [embedder.calibration.codes(vectors + apart) for apart in (-APART, APART)]
    expected = {"inputs": images, "head inputs": features, "vectors": vectors, "codes": torch.stack(codes)}
    torch.save(expected, f"{exported.folder}.pt")
    words = [word for form in ("onnx", "pt2", "head") for word in (form, str(exported.folder))]
    done = subprocess.run(
        [sys.executable, "-W", "error", root / "tests" / "processes" / "load_export.py", *words],
        cwd=exported.folder.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.stdout.split() == ["onnx", "pt2", "head"], done.stderr


def load_features(exported: Export, images: Tensor) -> Tensor:
    from lightning_monocon.encoders import build_encoder

    encoder = build_encoder(exported.description.encoder)
    encoder.load_state_dict(load_file(exported.folder / "model.safetensors"))
    with torch.no_grad():
        return encoder.eval()(images)


def test_the_layout_is_that_of_the_hub(exported: Export) -> None:
    files = {path.name for path in exported.folder.iterdir()}
    assert files == {
        *("README.md", "config.json", "model.safetensors", "head.safetensors", "vectors.safetensors"),
        *("embedder.onnx", "embedder.pt2"),
    }
    card = (exported.folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: lightning-monocon\npipeline_tag: feature-extraction\n")
    assert "6 numbers a vector, kept as int8: 6 bytes, where the head's whole output has 64." in card
    for line in exported.lines:
        assert f"| {line.name} | {line.dims} | {line.bytes} | {100 * line.knn_accuracy:.1f} |" in card
    assert re.search(
        r"- exported, int8 instead of exported (loses|gains) \d+\.\d\d points of 5-NN accuracy \(95 %", card
    )
    assert str(exported.folder.parent) not in card + (exported.folder / "config.json").read_text()


def test_every_artefact_is_stamped(exported: Export, other: Export) -> None:
    for path in (exported.folder, *exported.folder.iterdir()):
        if path.suffix != ".md":
            assert stamp_of(path) == exported.stamp, path
    assert exported.stamp.model == other.stamp.model
    assert exported.stamp.config["head"]["arm"] == "monotonic"
    with pytest.raises(ValueError, match=r"basis .*; calibration .*; dimension 6 and 4; storage int8 and float32"):
        check_same_space(exported.folder, other.folder)


def test_the_measured_figures_are_those_of_the_vectors(exported: Export, other: Export) -> None:
    whole = {line.name: line for line in other.lines}["exported"]
    found = score_files([other.folder / "vectors.safetensors"])
    assert (found.knn_accuracy, found.recall[10]) == (whole.knn_accuracy, whole.recall(10))
    assert (found.n, found.n_query) == (1131, 540)
    head = {line.name: line for line in exported.lines}["head, whole"]
    assert (head.dims, head.bytes, head.figure("neighbours", "overlap@10 with the head")) == (16, 64, 1.0)
    codes = {line.name: line for line in exported.lines}["exported, int8"]
    assert codes.neighbours_kept > 0.6
    assert codes.knn_accuracy > head.knn_accuracy - 0.1 > 0.5


def test_codes_and_calibration_travel(exported: Export) -> None:
    embedder = load(exported.folder)
    tensors = load_vectors(exported.folder / "vectors.safetensors", expect=exported.folder)
    assert tensors["gallery"].dtype == torch.int8
    assert tensors["gallery"].abs().amax() == 127
    assert len(embedder.calibration.step.unique()) == 1
    with safe_open(exported.folder / "head.safetensors", "pt") as file:
        torch.testing.assert_close(file.get_tensor("calibration.step"), embedder.calibration.step, rtol=0, atol=0)


def test_files_of_two_exports_do_not_load_together(exported: Export, other: Export, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(exported.folder, mixed)
    shutil.copy(other.folder / "head.safetensors", mixed)
    with pytest.raises(ValueError, match=r"must be of one space; they differ in basis"):
        load(mixed)
    shutil.copytree(exported.folder, mixed, dirs_exist_ok=True)
    weights = load_file(mixed / "head.safetensors")
    weights["linear2.bias"] = weights["linear2.bias"] + 1
    save_file(weights, mixed / "head.safetensors", {"monocon": exported.stamp.as_json()})
    with pytest.raises(ValueError, match=r"must hold the files of one export; the basis in .*mixed has the hash"):
        load(mixed)
    shutil.copytree(exported.folder, mixed, dirs_exist_ok=True)
    weights = load_file(mixed / "model.safetensors")
    weights["stages.0.weight"] = -weights["stages.0.weight"]
    save_file(weights, mixed / "model.safetensors")
    with pytest.raises(ValueError, match=r"must hold the files of one export; the model in .*mixed has the hash"):
        load(mixed)


def test_other_versions_and_spaces_are_refused(exported: Export, other: Export, tmp_path: Path) -> None:
    later = tmp_path / "later"
    shutil.copytree(exported.folder, later)
    text = (later / "config.json").read_text()
    (later / "config.json").write_text(text.replace("export/2", "export/4"))
    with pytest.raises(ValueError, match=r"must have the layout 'lightning-monocon/export/2'; .* has '.*/export/4'"):
        load(later)
    with pytest.raises(ValueError, match=r"must be of one space; they differ in basis"):
        load(exported.folder, expect=other.folder)
    with pytest.raises(ValueError, match=r"must be of one space; they differ in basis"):
        load_vectors(other.folder / "vectors.safetensors", expect=exported.stamp)
    mine = save_vectors(tmp_path / "mine.safetensors", exported.stamp, rows=torch.zeros(2, 6))
    check_same_space(mine, exported.folder / "embedder.onnx")
    save_file({"rows": torch.zeros(2, 6)}, mine)
    with pytest.raises(ValueError, match=r"mine.safetensors has no stamp"):
        load_vectors(mine)


def test_what_is_missing_or_torn_is_named(exported: Export, other: Export, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`form` 'onnx' must have been exported; .* has no embedder.onnx"):
        load(other.folder, "onnx")
    with pytest.raises(
        ValueError, match=r"`form` must be one of 'safetensors', 'onnx', 'pt2', 'sentence-transformers'"
    ):
        load(other.folder, "pickle")
    with pytest.raises(FileNotFoundError, match=r"`path` must be a folder that `monocon export` wrote"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match=r"`path` must be written by `monocon export`; .* has no stamp"):
        load(tmp_path)
    for name in ("x.onnx", "x.pt2", "x.safetensors"):
        (tmp_path / name).write_bytes(b"\x07" * 64)
        with pytest.raises(ValueError, match=rf"`path` must be a whole .* file; .*{name} is not"):
            stamp_of(tmp_path / name)
    with pytest.raises(ValueError, match=r"`path` must be a folder or end in .safetensors, .onnx, .pt2; got x.bin"):
        (tmp_path / "x.bin").write_bytes(b"")
        stamp_of(tmp_path / "x.bin")


def test_exports_that_cannot_be_are_refused(
    trained: MonoCon, digits: LightningDataModule, exported: Export, tmp_path: Path
) -> None:
    gallery, query = digits.test_dataloader()
    with pytest.raises(ValueError, match=r"`dim` must not exceed 16, the gallery's rank"):
        export_model(trained, gallery, query, tmp_path / "x", dim=17)
    with pytest.raises(FileExistsError, match=r"`out` must be a folder that does not exist or is empty"):
        export_model(trained, gallery, query, exported.folder)
    with pytest.raises(ValueError, match=r"`forms` must be of onnx, pt2 for a SmallCNN; got sentence-transformers"):
        export_model(trained, gallery, query, tmp_path / "x", forms=["sentence-transformers"])
    with pytest.raises(
        ValueError, match=r"`code` must be float32, int8, binary, one of .* or a folder with codec\.json, .* got 'int4'"
    ):
        export_model(trained, gallery, query, tmp_path / "x", dtype="int4")
    with pytest.raises(
        ValueError, match=r"`dtype` is the former name of `code` .*; got binary beside int8: give `code`"
    ):
        export_model(trained, gallery, query, tmp_path / "x", code="int8", dtype="binary")
    with pytest.raises(ValueError, match=r"`code` must be float32, .*; got 'int2'"):
        export_model(trained, gallery, query, tmp_path / "x", code="int2")
    with pytest.raises(RuntimeError, match=r"`--tolerance` .* is 0, but the rounding of float32 alone moves"):
        export_model(trained, gallery, query, tmp_path / "x", tolerance=0.0, forms=[])
    assert list(tmp_path.iterdir()) == []


class Own(nn.Module):
    """An encoder that no registry knows, of tensors by name."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.table.weight.data += 3 * nn.functional.one_hot(torch.arange(50) // 12, 8)  # words of a class lie together

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        found: Tensor = self.table(inputs["ids"]).mean(1)
        return found


def test_an_encoder_of_ones_own(tmp_path: Path) -> None:
    torch_generator = torch.Generator().manual_seed(0)
    model = MonoCon(Own(), head="none", in_features=8)
    labels = torch.arange(20) % 4
    draws = [torch.randint(12, (20, 5), generator=torch_generator) for _ in range(4)]
    batches = [({"ids": 12 * labels[:, None] + drawn}, labels) for drawn in draws]  # each class has words of its own
    written = export_model(model, batches, batches[:1], tmp_path / "own", dim=4, dtype="binary", forms=["pt2"])
    inputs = {"ids": torch.randint(50, (3, 9), generator=torch_generator)}  # another length
    expected = load(written.folder, "pt2")(inputs)
    alone = load(written.folder)
    assert (alone.stamp, alone.calibration.storage) == (written.stamp, "binary")
    with torch.no_grad():
        features = Own()(inputs)
        assert alone.head(features).shape == (3, 4)
    with pytest.raises(ValueError, match=r"`encoder` must be given: the export was made with an encoder of your own"):
        alone(inputs)
    with pytest.raises(ValueError, match=r"`encoder` must fit the weights in"):
        load(written.folder, encoder=nn.Linear(2, 2))
    torch.testing.assert_close(load(written.folder, encoder=Own())(inputs), expected)
    assert (written.lines[-1].bytes, written.lines[2].dims) == (1, 8)


def test_a_sample_of_the_gallery_calibrates(trained: MonoCon, digits: LightningDataModule, tmp_path: Path) -> None:
    gallery, query = digits.test_dataloader()
    written = export_model(trained, gallery, query, tmp_path / "some", dim=3, dtype="int8", forms=[], sample=300)
    assert written.description.calibration_rows == 300
    assert written.description.facts["gallery_rows"] == 1131
    assert "300 gallery rows, 300 queries" in (tmp_path / "some" / "README.md").read_text()
