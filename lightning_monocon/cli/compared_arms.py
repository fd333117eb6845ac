# SPDX-License-Identifier: Apache-2.0
"""Name the arms of a comparison, and say what each changes in the options of `monocon fit`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

HeadOptions: TypeAlias = Mapping[str, Any]

BASELINE = "encoder"
"""The arm that the others are judged against."""

ARMS = {
    BASELINE: "the encoder alone; cut by PCA like every arm, it is the baseline",
    "mlp": "the unconstrained head",
    "mlp-START": "the same, started as the monotonic head of its seed: squared, identity or lognormal",
    "monotonic": "the recipe's monotonic head",
    "monotonic-START": "the same from another start: reference, identity or lognormal",
    "linear-K": "a linear bottleneck of K dimensions",
    "matryoshka": "a linear head trained on nested prefixes and cut to a prefix; also matryoshka-mlp, "
    "matryoshka-monotonic and matryoshka-encoder",
}
"""The arms that can be compared, and what they are."""

DEFAULT = (
    "encoder",
    "mlp",
    "mlp-squared",
    "monotonic",
    "monotonic-identity",
    "monotonic-lognormal",
    "linear-4",
    "matryoshka",
)
"""The arms that are compared by default."""

_NESTED_HEADS = {"": "linear", "linear": "linear", "mlp": "mlp", "monotonic": "monotonic", "encoder": "none"}
_SHARED = ("hidden_features", "num_layers", "activation", "precision", "backend")
"""Options of the monotonic head that its free twin has as well."""


@dataclass(frozen=True)
class ComparedArm:
    """Describe one arm.

    Attributes:
        head: The head of `MonoCon`.
        init: The start of the head; None leaves it as it is.
        width: The dimensions of a bottleneck; None leaves the recipe's.
        nested: Whether it is trained on nested prefixes, and cut to a prefix.
    """

    head: str
    init: str | None = None
    width: int | None = None
    nested: bool = False

    def words(self, options: HeadOptions) -> list[str]:
        """Return the options of `fit` that make this arm of a recipe.

        Args:
            options: The ``head_options`` of the recipe, which are meant for its monotonic head.
        """
        words = ["--model.head", self.head]
        if self.head in ("none", "linear"):
            words += ["--model.out_features", str(self.width) if self.width else "null"]
        if self.nested:
            words += ["--model.nested", "true"]
        kept = self._kept(options)
        if kept or options:
            words += ["--model.head_options", json.dumps(kept) if kept else "null"]
        return words

    def _kept(self, options: HeadOptions) -> dict[str, Any]:
        if self.head in ("none", "linear"):
            return {}
        kept = dict(options) if self.head == "monotonic" else {k: v for k, v in options.items() if k in _SHARED}
        return kept if self.init is None else {**kept, "init": self.init}


def parse_arm(name: str) -> ComparedArm:
    """Return the arm of that name; raise ValueError if it is not one of those that can be compared."""
    kind, dash, detail = name.partition("-")
    if name in ("encoder", "mlp", "monotonic"):
        return ComparedArm("none" if name == "encoder" else name)
    if kind == "linear" and detail.isdecimal() and int(detail):
        return ComparedArm("linear", width=int(detail))
    if kind in ("mlp", "monotonic") and detail in _starts(kind):
        return ComparedArm(kind, init=detail)
    if kind == "matryoshka" and detail in _NESTED_HEADS and bool(dash) == bool(detail):
        return ComparedArm(_NESTED_HEADS[detail], nested=True)
    nested = [f"matryoshka-{head}" for head in _NESTED_HEADS if head]
    raise ValueError(
        f"`--arms` must be of {', '.join([*ARMS, *nested])} (K: dimensions; START: reference, identity, lognormal, "
        f"of a free head squared instead of reference), got {name!r}."
    )


def _starts(kind: str) -> Sequence[str]:
    from lightning_monocon.heads.init import FreeInit, Init  # brings torch, which help does not need

    return get_args(Init) if kind == "monotonic" else [start for start in get_args(FreeInit) if start != "default"]
