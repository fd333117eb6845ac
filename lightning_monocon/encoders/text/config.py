# SPDX-License-Identifier: Apache-2.0
"""Load text models of `transformers`, with their weights or from the description in a checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol, cast

from torch import Tensor, nn

from lightning_monocon.encoders.hub import optional_package, reachable
from lightning_monocon.encoders.plain_config import fresh_model
from lightning_monocon.encoders.text.pooling import Inputs, in_length_groups
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
    """Return the model's configuration; raise ValueError if the model is not a text model of a single width."""
    config = model.config
    sizes = {key: getattr(config, key, None) for key in ("hidden_size", "vocab_size")}
    if not all(isinstance(size, int) for size in sizes.values()):
        raise ValueError(
            f"`model` must be a text model with a hidden_size and a vocab_size; {name!r}, a {type(config).__name__}, "
            f"has {sizes}. Wrap it in a module of your own."
        )
    return cast(Config, config)


def check_source(model: str | None, config: str | None) -> None:
    """Raise ValueError unless exactly one of ``model`` and ``config`` says where an encoder comes from."""
    if (model is None) == (config is None):
        raise ValueError(f"`model` or `config` must be given, and not both; got {model!r} and {config!r}.")


class TransformerOfTexts(nn.Module):
    """Hold a transformer and map tokenized texts to features; a subclass makes one vector of a text's tokens.

    Args:
        transformer: The trunk, as `pretrained` and `fresh` return it.
        name: Names the model in errors.
        length_groups: Parts of a batch that are padded apart, as of `in_length_groups`.
    """

    def __init__(self, transformer: nn.Module, name: str, length_groups: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.length_groups = length_groups
        self._config = text_config(transformer, name)

    @property
    def vocabulary_size(self) -> int:
        """Return the number of tokens that the model has an embedding for."""
        return self._config.vocab_size

    @property
    def max_tokens(self) -> int | None:
        """Return the longest text that the model has positions for; ``None`` without a limit."""
        return getattr(self._config, "max_position_embeddings", None)

    def forward(self, inputs: Inputs) -> Tensor:
        """Map a batch of tokenized texts to features ``(B, out_features)``, float32."""
        return in_length_groups(inputs, self.length_groups, self._embed)

    @abstractmethod
    def _embed(self, inputs: Inputs) -> Tensor:
        """Map a batch to features without splitting it."""
