# SPDX-License-Identifier: Apache-2.0
"""Encode by the real timm, with random weights and without a network; skipped where it does not import.

It is no dependency: it imports torchvision, whose package on PyPI belongs to CUDA builds of torch.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lightning_monocon import MonoCon
from lightning_monocon.encoders import TimmEncoder, build_encoder, encoder_spec
from lightning_monocon.encoders.image.timm_model import import_timm

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_broken_size_is_refused() -> None:  # where there is no timm, too
    with pytest.raises(TypeError, match=r"`image_size` must be a whole number of pixels or None, got 2\.5\. Try 224"):
        TimmEncoder("resnet18", image_size=2.5)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    """The real timm; skips where there is none for the installed torch."""
    try:
        return import_timm()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", None), ("resnet18.a1_in1k", None), ("mobilenetv3_small_050", None), ("vit_tiny_patch16_224", 32)],
)
def test_its_features_are_what_timm_gives_its_classifier(name: str, size: int | None, timm: ModuleType) -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder(name, image_size=size).eval()
    whole = timm.create_model(name, pretrained=False, **({} if size is None else {"img_size": size})).eval()
    whole.load_state_dict(encoder.network.state_dict(), strict=False)
    expected = whole.forward_head(whole.forward_features(IMAGES), pre_logits=True)
    found = encoder(IMAGES)
    assert found.shape == (4, encoder.out_features)
    torch.testing.assert_close(found, expected)


def test_a_checkpoint_describes_it(timm: ModuleType, tmp_path: Path, no_network: None) -> None:
    encoder = TimmEncoder("vit_tiny_patch16_224", image_size=32).eval()
    spec = encoder_spec(encoder)
    assert spec == {"name": "timm", "model": "vit_tiny_patch16_224", "image_size": 32, "stage": None}
    again = build_encoder(spec).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(IMAGES), encoder(IMAGES))
    model = MonoCon(encoder, head="mlp", warmup_epochs=0)
    loss = model.loss(model(IMAGES), torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("name", "size", "stage"),
    [
        ("resnet18", None, 2),
        ("mobilenetv3_small_050", None, -1),
        ("vit_tiny_patch16_224", 32, 0),
        ("vit_tiny_patch16_224", 32, -1),
        ("swin_tiny_patch4_window7_224", 64, 1),  # its own maps end in the channels
    ],
)
def test_a_stage_is_the_mean_of_that_map_of_features_only(
    name: str, size: int | None, stage: int, timm: ModuleType
) -> None:
    images = IMAGES if size != 64 else torch.nn.functional.interpolate(IMAGES, 64)
    torch.manual_seed(0)
    whole = TimmEncoder(name, image_size=size).eval()
    encoder = TimmEncoder(name, image_size=size, stage=stage).eval()
    kept = encoder.network.state_dict().keys()
    encoder.network.load_state_dict({key: value for key, value in whole.network.state_dict().items() if key in kept})
    info: Any = whole.network.feature_info
    index = range(len(getattr(info, "info", info)))[stage]  # a ViT's `features_only` has but its last three by itself
    options: dict[str, Any] = {} if size is None else {"img_size": size}
    maps = timm.create_model(name, features_only=True, out_indices=(index,), **options).eval()
    state = {key.replace(".", "_"): value for key, value in whole.network.state_dict().items()}
    own = {key: key.removeprefix("model.").replace(".", "_") for key in maps.state_dict()}  # it flattens some names
    maps.load_state_dict({key: state[short] for key, short in own.items()})
    expected = maps(images)[0]
    expected = expected.mean(dim=(1, 2) if getattr(maps, "output_fmt", "NCHW") == "NHWC" else (2, 3))
    found = encoder(images)
    assert found.shape == (4, encoder.out_features)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_stage_trains_all_that_is_left_and_a_checkpoint_describes_it(timm: ModuleType) -> None:
    encoder = TimmEncoder("resnet18", stage=1)
    assert sum(p.numel() for p in encoder.parameters()) < 160_000  # the whole has 11 million
    encoder(IMAGES).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []
    spec = encoder_spec(encoder)
    assert spec == {"name": "timm", "model": "resnet18", "image_size": None, "stage": 1}
    again = build_encoder(spec)
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again.eval()(IMAGES), encoder.eval()(IMAGES))


@pytest.mark.parametrize("stage", [5, -6])
def test_a_stage_that_the_model_does_not_have(stage: int, timm: ModuleType) -> None:
    with pytest.raises(
        ValueError, match=rf"`stage` must be from -5 to 4 for 'resnet18', whose maps have \[64, .*\] c.*; got {stage}\."
    ):
        TimmEncoder("resnet18", stage=stage)


def test_a_model_without_maps_has_no_stage(timm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"`stage` must be None for 'resnet18', of which timm takes no feature maps"):
        TimmEncoder("resnet18", stage=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_with_or_without_a_classifier(suffix: str, timm: ModuleType, tmp_path: Path, no_network: None) -> None:
    torch.manual_seed(1)
    whole = timm.create_model("resnet18", pretrained=False).eval()
    path = tmp_path / f"weights{suffix}"
    save_file(whole.state_dict(), path) if suffix == ".safetensors" else torch.save(whole.state_dict(), path)
    encoder = TimmEncoder("resnet18.a1_in1k", pretrained=str(path)).eval()
    torch.testing.assert_close(whole.fc(encoder(IMAGES)), whole(IMAGES))


def test_the_preparation_is_that_of_the_weights(timm: ModuleType) -> None:
    found = TimmEncoder("resnet18.a1_in1k").preparation
    assert found == ((224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")
    assert TimmEncoder("vit_tiny_patch16_224", image_size=32).preparation.size == (32, 32)
    assert TimmEncoder("vit_tiny_patch16_224", image_size=32).preparation.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18.a1_in1k", "local-dir:FOLDER", "resnet18000", "FOLDER", ""])
def test_only_names_of_its_list(name: str, timm: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("it reads folders and asks hubs"))
    with pytest.raises(ValueError, match=r"`model` must be a name that `timm.list_models\(\)` has, with or without a"):
        build_encoder({"name": "timm", "model": name.replace("FOLDER", str(tmp_path))})


class Touch:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def saved(value: object) -> bytes:
    """Return the file that torch writes of a value."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def test_what_a_file_must_be(timm: ModuleType, tmp_path: Path, no_network: None) -> None:
    with pytest.raises(RuntimeError, match=r"`pretrained` must be a local file or folder, .*'nowhere\.pth' could not"):
        TimmEncoder("resnet18", pretrained="nowhere.pth")
    torch.save({"a": Touch(tmp_path / "mark")}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match=r"`pretrained` must be a file of tensors, .*code\.pth' is damaged or holds"):
        TimmEncoder("resnet18", pretrained=str(tmp_path / "code.pth"))
    assert not (tmp_path / "mark").exists()
    for name, content in (("junk.pth", b"junk"), ("junk.safetensors", b"junk"), ("list.pth", saved([torch.zeros(1)]))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"`pretrained` must be a file of tensors, .*{name}' is damaged or holds"):
            TimmEncoder("resnet18", pretrained=str(tmp_path / name))
    torch.save(timm.create_model("resnet34", pretrained=False).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"`pretrained` must hold the parameters of timm's 'resnet18'; "):
        TimmEncoder("resnet18", pretrained=str(tmp_path / "other.pth"))


def test_what_else_does_not_fit(timm: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"`image_size` must be left out for 'resnet18', which takes any; got 32"):
        TimmEncoder("resnet18", image_size=32)
    with pytest.raises(ValueError, match=r"`model` must have a tag of weights that timm knows; got 'resnet18.nope'"):
        TimmEncoder("resnet18.nope", pretrained=True)


@pytest.mark.parametrize("missing", ["timm", "torchvision"])
def test_without_its_packages(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision") if missing == "timm" else None)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(RuntimeError, match=rf"{missing} must be installed "):
        TimmEncoder()
