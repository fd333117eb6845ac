# SPDX-License-Identifier: Apache-2.0
"""Load text models of `transformers`, with their weights or from the description in a checkpoint."""

from __future__ import annotations

from typing import Any, Protocol, cast

from torch import nn

from lightning_monocon.encoders.hub import optional_package, reachable
from lightning_monocon.encoders.plain_config import fresh_model
from lightning_monocon.encoders.text.source import locate


class Config(Protocol):
    """Describe the attributes of a `transformers` configuration that are used here."""

    hidden_size: int
    vocab_size: int
    is_encoder_decoder: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values."""
        ...


def pretrained(name: str, revision: str | None = None) -> nn.Module:
    """Return the text model of that name, in eval mode and float32.

    It is float32 whatever the file holds, since AdamW on half-precision weights loses small steps.

    Raises:
        RuntimeError: If it is neither on this machine nor reachable on the hub.
        ModuleNotFoundError: If transformers is not installed.
    """
    transformers = optional_package("transformers", "text")
    source, local = locate(name)
    with reachable("model", name):
        model = transformers.AutoModel.from_pretrained(
            source, revision=revision or "main", local_files_only=local, trust_remote_code=False, dtype="float32"
        )
    return trunk(model)


def fresh(config: str) -> nn.Module:
    """Return the trunk of the model that an architecture as JSON describes, with fresh float32 weights.

    Raises:
        ValueError: If ``config`` names no architecture that transformers knows, or holds more than plain values.
        ModuleNotFoundError: If transformers is not installed.
    """
    return trunk(fresh_model(config, "text"))


def trunk(model: nn.Module) -> nn.Module:
    """Return the part of a model that computes token features.

    Of an encoder-decoder it is the encoder. The pooler of BERT-like models is dropped: nothing here uses it, and DDP
    would wait for its gradients.
    """
    part = model
    if getattr(model.config, "is_encoder_decoder", False):
        part = model.get_encoder()  # type: ignore[operator]  # a method of transformers' models
    if isinstance(getattr(part, "pooler", None), nn.Module):
        part.pooler = None  # type: ignore[assignment]  # their forward checks whether there is one
    return part


def text_config(model: nn.Module, name: str) -> Config:
    """Return the model's configuration.

    Raises:
        ValueError: If the model is not a text model of a single width.
    """
    config = model.config
    sizes = {key: getattr(config, key, None) for key in ("hidden_size", "vocab_size")}
    if not all(isinstance(size, int) for size in sizes.values()):
        raise ValueError(
            f"`model` must be a text model with a hidden_size and a vocab_size; {name!r}, a {type(config).__name__}, "
            f"has {sizes}. Wrap it in a module of your own."
        )
    return cast(Config, config)
