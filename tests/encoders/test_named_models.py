# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_monocon.encoders import TransformersImageEncoder, build_encoder, encoder_spec
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
        ({"model": "a", "pooling": "max"}, r"`pooling` must be one of 'auto', 'mean', 'first'; got 'max'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TransformersImageEncoder(**arguments)


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(
        ModuleNotFoundError, match=r"`no_such` must be installed: pip install 'lightning-monocon\[vision\]'"
    ):
        optional_package("no_such", "vision")
