# SPDX-License-Identifier: Apache-2.0
import urllib.error
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles.resnet34 import ResNet34
from torch import nn

from lightning_monocon.encoders import ResNet, build_encoder, encoder_spec
from lightning_monocon.encoders.image.resnet_weights import renamed, transformers_name

pytest.importorskip("transformers")
TINY: dict[str, Any] = {"depths": (1, 1), "widths": (4, 8)}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and buffer away from its start, so that a swapped key shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(0.5 + noise if "running_var" in name or value.ndim == 1 else (noise - 0.5) * 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResNet34, Path]:
    oracle = randomised(ResNet34())
    assert isinstance(oracle, ResNet34)
    path = tmp_path_factory.mktemp("weights") / "resnet34.pth"
    torch.save(oracle.state_dict(), path)
    return oracle, path


def test_torchvisions_weights_load_by_key(published: tuple[ResNet34, Path]) -> None:
    oracle, path = published
    encoder = ResNet(str(path)).eval()
    images = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), oracle.features(images), rtol=1e-5, atol=1e-5)
    assert encoder.out_features == 512
    assert sum(p.numel() for p in encoder.parameters()) == 21_797_672 - 513_000  # ResNet-34 without its classifier


def test_the_key_map_is_one_to_one(published: tuple[ResNet34, Path]) -> None:
    oracle, _ = published
    state = oracle.state_dict()
    mapped = renamed(state)
    assert len(mapped) == len(state) - 2  # fc.weight and fc.bias
    assert renamed(mapped) == mapped
    classifier = {f"resnet.{name}": value for name, value in mapped.items()} | {"classifier.1.weight": torch.zeros(1)}
    assert renamed(classifier).keys() == mapped.keys()
    with pytest.raises(ValueError, match=r"`weights` must hold a ResNet with basic layers; 'layer1.0.conv1.bias'"):
        transformers_name("layer1.0.conv1.bias")


@pytest.mark.parametrize("start", ["crop", "fresh"])
def test_the_small_stem(start: Any, tmp_path: Path) -> None:
    oracle = randomised(ResNet34(**TINY))
    path = tmp_path / "tiny.pth"
    torch.save(oracle.state_dict(), path)
    torch.manual_seed(0)
    encoder = ResNet(str(path), stem="small", stem_start=start, **TINY).eval()
    embedder: Any = encoder.network.embedder
    kernel = embedder.embedder.convolution.weight
    assert kernel.shape == (4, 3, 3, 3)
    cropped = torch.equal(kernel, oracle.state_dict()["conv1.weight"][:, :, 2:5, 2:5])
    assert cropped == (start == "crop")
    torch.testing.assert_close(embedder.embedder.normalization.weight, oracle.state_dict()["bn1.weight"])
    with torch.inference_mode():
        assert embedder(torch.rand(1, 3, 32, 32)).shape == (1, 4, 32, 32)  # neither stride nor pool
        assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 8)


def test_an_encoder_is_rebuilt_without_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pth"
    torch.save(ResNet34(**TINY).state_dict(), path)
    encoder = ResNet(str(path), stem="small", **TINY)
    spec = encoder_spec(encoder)
    assert spec == {"name": "resnet", "stem": "small", "depths": [1, 1], "widths": [4, 8], "in_channels": 3}
    path.unlink()
    build_encoder(spec).load_state_dict(encoder.state_dict())


def test_safetensors_and_a_folder_of_transformers(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    oracle = randomised(ResNet34(**TINY))
    save_file(oracle.state_dict(), tmp_path / "tiny.safetensors")
    encoder = ResNet(str(tmp_path / "tiny.safetensors"), **TINY)
    encoder.network.save_pretrained(tmp_path / "folder")  # type: ignore[operator]  # transformers' own method
    again = ResNet(str(tmp_path / "folder"), **TINY)
    torch.testing.assert_close(again.state_dict(), encoder.state_dict(), rtol=0, atol=0)


def test_a_grey_encoder_learns() -> None:
    encoder = ResNet(None, stem="small", in_channels=1, **TINY)
    encoder(torch.rand(4, 1, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_weights_that_do_not_fit(published: tuple[ResNet34, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`weights` must fit this architecture \(depths \(1, 1\), widths \(4, 8\)"):
        ResNet(str(published[1]), **TINY)
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(published[1].read_bytes()[:1000])
    with warnings.catch_warnings(), pytest.raises(ValueError, match=r"`weights` must be a file of tensors"):
        warnings.simplefilter("ignore")
        ResNet(str(damaged), **TINY)


def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    sentence = (
        r"`weights` must be a local file or folder, or name a model of a hub .*; 'torchvision' could not be loaded"
    )
    with pytest.raises(RuntimeError, match=sentence):
        ResNet("torchvision")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"stem": "tiny"}, r"`stem` must be one of 'large', 'small'; got 'tiny'"),
        ({"stem_start": "zero"}, r"`stem_start` must be one of 'crop', 'fresh'; got 'zero'"),
        ({"depths": (1,)}, r"`depths` and `widths` must be as many positive integers, got \(1,\) and \(64, 128"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ResNet(**arguments)
