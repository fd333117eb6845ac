# SPDX-License-Identifier: Apache-2.0
"""Load tokenizers, and check that one fits a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, cast, runtime_checkable

from torch import Tensor

from lightning_monocon.encoders.hub import optional_package, reachable
from lightning_monocon.encoders.text.source import locate


class Tokenizer(Protocol):
    """Describe the attributes of a tokenizer of transformers that are used here."""

    pad_token_id: int | None

    def __call__(
        self, text: list[str], *, padding: bool, truncation: bool, max_length: int, return_tensors: Literal["pt"]
    ) -> Mapping[str, Tensor]:
        """Return ``input_ids``, ``attention_mask`` and the other inputs of the model, each ``(B, T)``."""
        ...

    def get_vocab(self) -> dict[str, int]:
        """Return the number of each token."""
        ...


@runtime_checkable
class ReadsTokens(Protocol):
    """Describe an encoder that declares which tokens it can read."""

    @property
    def vocabulary_size(self) -> int:
        """Return the number of tokens that it has an embedding for."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Return the longest text that it has positions for; ``None`` without a limit."""


def load_tokenizer(name: str, revision: str | None = None) -> Tokenizer:
    """Return the tokenizer of a folder, of an installed package (see `locate`) or of the hub.

    Raises:
        RuntimeError: If it cannot be loaded.
        ValueError: If it has no padding token.
        ModuleNotFoundError: If transformers is not installed.
    """
    transformers = optional_package("transformers", "text")
    source, local = locate(name)
    with reachable("tokenizer", name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            source, revision=revision or "main", local_files_only=local, trust_remote_code=False
        )
    if tokenizer.pad_token_id is None:
        raise ValueError(
            f"`tokenizer` must have a padding token to make batches; that of {name!r} has none. Save a copy with "
            "`tokenizer.pad_token = tokenizer.eos_token` and give its folder."
        )
    return cast(Tokenizer, tokenizer)


def check_fit(tokenizer: Tokenizer, name: str, max_length: int, encoder: object) -> None:
    """Check that an encoder can read the output of a tokenizer; other encoders than `ReadsTokens` are not checked.

    Raises:
        ValueError: If the tokenizer knows tokens that the encoder has no embedding for, or texts may be too long.
    """
    if not isinstance(encoder, ReadsTokens):
        return
    largest = max(tokenizer.get_vocab().values())
    if largest >= encoder.vocabulary_size:
        raise ValueError(
            f"`tokenizer` must fit the encoder, which has embeddings for {encoder.vocabulary_size} tokens; {name!r} "
            f"numbers its tokens up to {largest}. Use the tokenizer that the model was trained with."
        )
    if encoder.max_tokens is not None and max_length > encoder.max_tokens:
        raise ValueError(
            f"`max_length` must not exceed the encoder's {encoder.max_tokens} positions, got {max_length}. Lower it."
        )
