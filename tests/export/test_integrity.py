# SPDX-License-Identifier: Apache-2.0
"""The stamp covers everything that decides the values: what was changed in an export does not load."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from safetensors.torch import load_file, save_file

from lightning_monocon import MonoCon
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.export import Export, check_same_space, export_model, load
from lightning_monocon.export.loading import LoadedForm
from lightning_monocon.export.stamp import Stamp, description_hash

NEW = ("chain", "description")

# two seconds of training lose two points against the encoder, which is warned of
pytestmark = pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")


@pytest.fixture(scope="module")
def exported(trained: MonoCon, digits: LightningDataModule, tmp_path_factory: pytest.TempPathFactory) -> Export:
    gallery, query = digits.test_dataloader()
    out = tmp_path_factory.mktemp("whole") / "out"
    return export_model(trained, gallery, query, out, dim=6, dtype="int8", forms=["pt2"])


@pytest.fixture
def copy(exported: Export, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported.folder, tmp_path / "copy"))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text())
    change(content["monocon"])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda it: it["layers"].pop(1), "chain"),
        (lambda it: it["layers"].insert(1, {"layer": "Tanh"}), "chain"),
        (lambda it: it["layers"][1].update(layer="ReLU"), "chain"),
        (lambda it: it["layers"].pop(), "chain"),
        (lambda it: it["stamp"].update(normalisation="none"), "chain"),
        (lambda it: it["encoder"].update(pools=0), "description"),
        (lambda it: it.update(inputs=["pixels"]), "description"),
    ],
    ids=["layer removed", "layer added", "activation", "unit length removed", "normalisation", "encoder", "inputs"],
)
def test_a_changed_description_is_refused(change: Callable[[dict[str, Any]], object], words: str, copy: Path) -> None:
    rewrite(copy, change)
    with pytest.raises(ValueError, match=rf"must hold the description that was exported; the {words} in .*config.json"):
        load(copy)


@pytest.mark.parametrize("name", ["dimension", "full_dimension"])
def test_a_changed_number_in_the_stamp_is_refused(name: str, copy: Path) -> None:
    rewrite(copy, lambda it: it["stamp"].update({name: 5}))
    with pytest.raises(ValueError, match=rf"must be of one space; they differ in {name} 5 and"):
        load(copy)


def test_other_steps_are_refused(copy: Path, exported: Export) -> None:
    weights = load_file(copy / "head.safetensors")
    weights["calibration.step"] *= 2
    save_file(weights, copy / "head.safetensors", {"monocon": exported.stamp.as_json()})
    with pytest.raises(ValueError, match=r"must hold the files of one export; the calibration in"):
        load(copy)


def test_weights_of_another_type_are_refused(copy: Path, exported: Export) -> None:
    weights = {name: value.half() for name, value in load_file(copy / "head.safetensors").items()}
    save_file(weights, copy / "head.safetensors", {"monocon": exported.stamp.as_json()})
    with pytest.raises(ValueError, match=r"must hold the files of one export; the (basis|calibration) in"):
        load(copy)


def test_another_program_is_refused(copy: Path) -> None:
    path = copy / "embedder.pt2"
    data = bytearray(path.read_bytes())
    place = data.index(b"monocon.json")  # the bytes of a name in the archive: the program is as before, the file is not
    data[place - 40] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"must hold the files of one export; .*embedder.pt2 has the sha256|whole .pt2"
    ):
        load(copy, "pt2")


def test_a_head_with_another_description_of_the_encoder_is_refused(copy: Path, exported: Export) -> None:
    stamp = exported.stamp
    other = Stamp(
        **{**json.loads(stamp.as_json()), "description": description_hash({"name": "modular"}, ["inputs"], 9)}
    )
    save_file(load_file(copy / "head.safetensors"), copy / "head.safetensors", {"monocon": other.as_json()})
    with pytest.raises(
        ValueError, match=r"head.safetensors describes another encoder or other inputs than config.json"
    ):
        load(copy)


def test_an_export_of_the_layout_before_loads_with_a_warning(copy: Path, exported: Export) -> None:
    old = json.loads(exported.stamp.as_json().replace("export/2", "export/1"))
    for name in NEW:
        del old[name]
    rewrite(copy, lambda it: (it.update(stamp=old), it.pop("files")))
    for name in ("head", "model"):
        path = copy / f"{name}.safetensors"
        save_file(load_file(path), path, {"monocon": json.dumps(old)})
    images = torch.rand(3, 1, 8, 8)
    with pytest.warns(
        UserWarning, match=r"was exported by lightning-monocon .*, whose stamp covers the weights but not"
    ):
        found = load(copy)
    torch.testing.assert_close(found(images), load(exported.folder)(images), rtol=0, atol=0)
    check_same_space(found.stamp, exported.stamp)  # by what both cover


def test_one_word_does_not_make_it_the_layout_before(copy: Path) -> None:
    rewrite(copy, lambda it: (it["stamp"].update(format="lightning-monocon/export/1"), it["layers"].pop(1)))
    with (
        pytest.warns(UserWarning, match=r"whose stamp covers the weights but not"),
        pytest.raises(ValueError, match=r"head.safetensors has the layout 'lightning-monocon/export/2', config.json"),
    ):
        load(copy)


@pytest.mark.parametrize(
    ("form", "change", "name"),
    [
        ("safetensors", lambda it: it.update(files={}), "head.safetensors"),
        ("safetensors", lambda it: it["files"].pop("model.safetensors"), "model.safetensors"),
        ("pt2", lambda it: it["files"].pop("embedder.pt2"), "embedder.pt2"),
    ],
    ids=["none", "weights", "program"],
)
def test_a_file_that_is_read_must_be_listed(
    form: LoadedForm, change: Callable[[dict[str, Any]], object], name: str, copy: Path
) -> None:
    rewrite(copy, change)
    with pytest.raises(ValueError, match=rf"and no others; .*{name} is not among the files that .*config.json lists"):
        load(copy, form)


@pytest.mark.parametrize("files", [["head.safetensors"], {"../outside": "0"}, {"head.safetensors": None}], ids=str)
def test_a_list_of_files_is_of_the_folder(files: object, copy: Path) -> None:
    rewrite(copy, lambda it: it.update(files=files))
    with pytest.raises(ValueError, match=r"`path` must list hashes of files in its folder; .*config.json lists others"):
        load(copy)


def test_a_description_cannot_name_a_folder(copy: Path, tmp_path: Path, exported: Export) -> None:
    """Not even where every hash of the forged export fits."""
    named = {"name": "resnet", "weights": str(tmp_path / "named" / "weights.pth")}
    rows = exported.description.calibration_rows
    forged = json.loads(exported.stamp.as_json()) | {"description": description_hash(named, ["inputs"], rows)}
    rewrite(copy, lambda it: it.update(encoder=named, stamp=forged))
    save_file(load_file(copy / "head.safetensors"), copy / "head.safetensors", {"monocon": json.dumps(forged)})
    with pytest.raises(ValueError, match=r"`spec` must describe a resnet encoder by plain values .*; got weights = "):
        load(copy)
    load(copy, encoder=SmallCNN(widths=(8, 16, 16)))  # the caller may


def test_a_compiled_encoder_makes_the_same_export(
    trained: MonoCon, digits: LightningDataModule, tmp_path: Path, exported: Export
) -> None:
    gallery, query = digits.test_dataloader()
    compiled = MonoCon(SmallCNN(widths=(8, 16, 16)), head_options={"init": "identity"})
    compiled.load_state_dict(trained.state_dict())
    compiled.encoder = torch.compile(compiled.encoder, backend="eager")
    written = export_model(compiled.eval(), gallery, query, tmp_path / "out", dim=6, dtype="int8", forms=["pt2"])
    assert written.stamp.model == exported.stamp.model
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(load(written.folder)(images), load(written.folder, "pt2")(images), rtol=0, atol=1e-5)
    wrapped = load(written.folder, encoder=torch.compile(SmallCNN(widths=(8, 16, 16)), backend="eager"))
    torch.testing.assert_close(wrapped(images), load(written.folder)(images), rtol=0, atol=1e-6)
    assert sys.modules["torch._dynamo"]
