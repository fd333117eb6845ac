# SPDX-License-Identifier: Apache-2.0
"""The arms of the search for a monotonic head that beats its rivals: what each is, and how it is cut to k numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from lightning_monocon.heads import LinearHead, MLPHead, MonotonicMLP

LOW = (4, 8, 16)
"""The sizes that are judged."""

Role = Literal["rival", "control", "variant"]


@dataclass(frozen=True)
class ArmSpec:
    """One arm.

    Attributes:
        role: ``"rival"`` is to be beaten, ``"variant"`` is a monotonic head, ``"control"`` is neither.
        head: ``"none"``, ``"linear"``, ``"mlp"`` or ``"monotonic"``.
        width: numbers of the embedding; 0 means as many as the encoder has.
        options: further arguments of the head.
        nested: trained on nested prefixes, and cut to a prefix; otherwise cut by the gallery's PCA.
        dims: the prefixes; none means the powers of two from 4 to the full width.
        free: share of the features in which the monotonic head is free.
        signs: half of the other features are decreasing.
        decay: AdamW's weight decay of the head.
        warmup: factor on the warm-up epochs.
        head_rate: factor on the head's learning rate.
    """

    role: Role
    head: str
    width: int = 0
    options: dict[str, str] = field(default_factory=dict)
    nested: bool = False
    dims: tuple[int, ...] = ()
    free: float = 0.0
    signs: bool = False
    decay: float = 1e-4
    warmup: float = 1.0
    head_rate: float = 1.0

    def build(self, features: int, seed: int) -> nn.Module:
        """The head with its starting weights; one seed gives the same weights in every arm of one shape."""
        torch.manual_seed(seed)
        width = self.width or features
        if self.head == "none":
            return nn.Identity()
        if self.head == "linear":
            return LinearHead(features, width)
        if self.head == "mlp":
            return MLPHead(features, None, width, **self.options)
        return MonotonicMLP(features, None, width, monotone=self._directions(features), **self.options)

    def _directions(self, features: int) -> list[int] | None:
        if not self.free and not self.signs:
            return None
        free = round(self.free * features)
        return [0] * free + [-1 if self.signs and i % 2 else 1 for i in range(features - free)]


def _rival(head: str, **how: object) -> ArmSpec:
    return ArmSpec("rival", head, **how)  # type: ignore[arg-type]  # a table, not an interface


def _variant(init: str = "reference", *, options: dict[str, str] | None = None, **how: object) -> ArmSpec:
    return ArmSpec("variant", "monotonic", options={"init": init, **(options or {})}, **how)  # type: ignore[arg-type]


ARMS: dict[str, ArmSpec] = {
    "encoder": _rival("none"),
    "mlp": _rival("mlp"),
    "linear-4": _rival("linear", width=4),
    "linear-8": _rival("linear", width=8),
    "linear-16": _rival("linear", width=16),
    "matryoshka": _rival("linear", nested=True),
    "matryoshka-mlp": _rival("mlp", nested=True),
    "matryoshka-encoder": _rival("none", nested=True),
    "mlp-squared": ArmSpec("control", "mlp", options={"init": "squared"}),
    "matryoshka-mlp-identity": ArmSpec("control", "mlp", options={"init": "identity"}, nested=True),
    "monotonic": _variant(),
    "identity": _variant("identity"),
    "lognormal": _variant("lognormal"),
    "abs": _variant(options={"parametrization": "abs"}),
    "tanh": _variant("identity", options={"activation": "tanh"}),
    "no-decay": _variant(decay=0.0),
    "no-warmup": _variant(warmup=0.0),
    "fast-head": _variant(head_rate=5.0),
    "free-half": _variant("lognormal", free=0.5),
    "nested": _variant(nested=True),
    "nested-identity": _variant("identity", nested=True),
    "nested-lognormal": _variant("lognormal", nested=True),
    "nested-identity-tanh": _variant("identity", options={"activation": "tanh"}, nested=True),
    "nested-identity-abs": _variant("identity", options={"parametrization": "abs"}, nested=True),
    "nested-identity-fast": _variant("identity", nested=True, head_rate=5.0),
    "nested-lognormal-16": _variant("lognormal", width=16, nested=True),
    "nested-free-half": _variant("lognormal", free=0.5, nested=True),
    "nested-signs": _variant("lognormal", signs=True, nested=True),
    # second round: the first showed that heads want a higher rate, so rivals get it too
    "mlp-fast": _rival("mlp", head_rate=5.0),
    "linear-4-fast": _rival("linear", width=4, head_rate=5.0),
    "linear-8-fast": _rival("linear", width=8, head_rate=5.0),
    "linear-16-fast": _rival("linear", width=16, head_rate=5.0),
    "matryoshka-fast": _rival("linear", nested=True, head_rate=5.0),
    "matryoshka-mlp-fast": _rival("mlp", nested=True, head_rate=5.0),
    "nested-fast": _variant(nested=True, head_rate=5.0),
    "nested-16-fast": _variant(width=16, nested=True, head_rate=5.0),
    "nested-identity-tanh-fast": _variant("identity", options={"activation": "tanh"}, nested=True, head_rate=5.0),
    "nested-abs-tanh-fast": _variant(
        "identity", options={"activation": "tanh", "parametrization": "abs"}, nested=True, head_rate=5.0
    ),
    "nested-free-half-fast": _variant("identity", free=0.5, nested=True, head_rate=5.0),
    "nested-free-most-tanh-fast": _variant(
        "identity", options={"activation": "tanh"}, free=0.9, nested=True, head_rate=5.0
    ),
    # third round: prefixes at the sizes that are judged only, and again for rivals too
    "matryoshka-low": _rival("linear", nested=True, dims=LOW),
    "matryoshka-low-fast": _rival("linear", nested=True, dims=LOW, head_rate=5.0),
    "matryoshka-mlp-low": _rival("mlp", nested=True, dims=LOW),
    "matryoshka-mlp-low-fast": _rival("mlp", nested=True, dims=LOW, head_rate=5.0),
    "nested-identity-low-fast": _variant("identity", nested=True, dims=LOW, head_rate=5.0),
    "nested-identity-tanh-low-fast": _variant(
        "identity", options={"activation": "tanh"}, nested=True, dims=LOW, head_rate=5.0
    ),
    "nested-free-half-low-fast": _variant("identity", free=0.5, nested=True, dims=LOW, head_rate=5.0),
    "nested-free-most-tanh-low-fast": _variant(
        "identity", options={"activation": "tanh"}, free=0.9, nested=True, dims=LOW, head_rate=5.0
    ),
    "nested-low-fast": _variant(nested=True, dims=LOW, head_rate=5.0),
}
"""Every arm of the search by name; the names of the variants say what they change in the paper's head."""
