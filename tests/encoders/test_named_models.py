# SPDX-License-Identifier: Apache-2.0
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from lightning_monocon.encoders import TorchvisionEncoder, TransformersImageEncoder, build_encoder, encoder_spec
from lightning_monocon.encoders.hub import optional_package

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **sizes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["auto", "mean", "first"])
def test_a_model_from_a_folder(vit: Path, pooling: Any) -> None:
    encoder = TransformersImageEncoder(str(vit), pooling=pooling).eval()
    images = torch.rand(3, 3, 16, 16)
    features = encoder(images)
    assert features.shape == (3, encoder.out_features) == (3, 8)
    output = encoder.network(pixel_values=images)
    hidden = output.last_hidden_state
    expected = {"auto": output.pooler_output, "mean": hidden.mean(1), "first": hidden[:, 0]}[pooling]
    torch.testing.assert_close(features, expected)


def test_the_checkpoint_needs_neither_folder_nor_hub(vit: Path) -> None:
    encoder = TransformersImageEncoder(str(vit), pooling="mean").eval()
    spec = json.loads(json.dumps(encoder_spec(encoder)))
    assert spec.keys() == {"name", "config", "pooling"}
    assert str(vit) not in spec["config"]
    again = build_encoder(spec)
    again.load_state_dict(encoder.state_dict())
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(again.eval()(images), encoder(images))


def test_code_that_a_config_names_is_not_run(vit: Path) -> None:
    plain = json.loads((vit / "config.json").read_text())
    plain["auto_map"] = {"AutoModel": "evil.Evil"}
    assert type(TransformersImageEncoder(config=json.dumps(plain)).network) is transformers.ViTModel


def test_a_convolutional_model_without_weights(tmp_path: Path) -> None:
    transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic").save_pretrained(
        tmp_path
    )
    encoder = TransformersImageEncoder(str(tmp_path), pretrained=False)
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 8) == (2, encoder.out_features)
    encoder.pooling = "mean"
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 8)
    encoder.pooling = "first"
    with pytest.raises(ValueError, match=r"`pooling` must not be 'first' for a model without tokens"):
        encoder(torch.rand(2, 3, 32, 32))


def test_a_missing_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nto load the files")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", offline)
    sentence = r"`model` must be a local file or folder, or name a model of a hub that can be reached; 'some/model' .*"
    with pytest.raises(RuntimeError, match=sentence + r"We couldn't connect to 'https://huggingface.co' to load"):
        TransformersImageEncoder("some/model")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, r"`model` or `config` must be given, and not both; got None and None"),
        ({"model": "a", "config": "{}"}, r"`model` or `config` must be given, and not both"),
        ({"model": "a", "pooling": "max"}, r"`pooling` must be one of auto, mean, first, got 'max'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TransformersImageEncoder(**arguments)


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"`no_such` must be installed .* 'lightning-monocon\[vision\]'"):
        optional_package("no_such", "vision")


class Classifier(nn.Module):
    """What torchvision's models look like from outside."""

    def __init__(self, last: str = "fc") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 6))
        self.last = last
        if last:
            self.add_module(last, nn.Linear(6, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self, self.last)(self.body(x))


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision that imports; the real one is no dependency and seldom fits a CPU build of torch."""

    def get_model(name: str, weights: str | None = None) -> nn.Module:
        if weights == "DEFAULT":
            raise OSError("no route to host")
        return Classifier("" if name == "headless" else "fc")

    package, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    models.get_model = get_model  # type: ignore[attr-defined]
    models.list_models = lambda module: ["resnet18", "headless"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


@pytest.mark.usefixtures("torchvision")
def test_a_model_of_torchvision_loses_its_classifier() -> None:
    encoder = TorchvisionEncoder("resnet18")
    assert encoder(torch.rand(2, 3, 2, 2)).shape == (2, 6) == (2, encoder.out_features)
    assert encoder_spec(encoder) == {"name": "torchvision", "model": "resnet18"}
    build_encoder({"name": "torchvision", "model": "resnet18"}).load_state_dict(encoder.state_dict())


@pytest.mark.usefixtures("torchvision")
def test_what_torchvision_refuses() -> None:
    with pytest.raises(ValueError, match=r"`model` and `weights` must be known to torchvision, got 'unknown'"):
        TorchvisionEncoder("unknown")
    with pytest.raises(ValueError, match=r"`model` must end in a linear classifier; 'headless' does not"):
        TorchvisionEncoder("headless")
    with pytest.raises(RuntimeError, match=r"`weights` must be a local file .*'DEFAULT' could not be had"):
        TorchvisionEncoder("resnet18", weights="DEFAULT")


def test_a_torchvision_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(RuntimeError, match=r"torchvision must be installed in the build for this torch; importing"):
        TorchvisionEncoder("resnet34")
