# SPDX-License-Identifier: Apache-2.0
"""The arms of a comparison by name: what each changes in the words of `monocon fit`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

HeadOptions: TypeAlias = Mapping[str, Any]

ARMS = {
    "encoder": "the encoder alone; cut by PCA like every arm, it is the baseline",
    "mlp": "the unconstrained head",
    "mlp-START": "the same, started as the monotonic head of its seed: squared, identity or lognormal",
    "monotonic": "the recipe's monotonic head",
    "monotonic-START": "the same from another start: reference, identity or lognormal",
    "linear-K": "a linear bottleneck of K dimensions",
    "matryoshka": "a linear head trained on nested prefixes and cut to a prefix; also matryoshka-mlp, "
    "matryoshka-monotonic and matryoshka-encoder",
}
"""Arms that can be compared, and what they are."""

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
"""What is compared if nobody says otherwise."""

_NESTED_HEADS = {"": "linear", "linear": "linear", "mlp": "mlp", "monotonic": "monotonic", "encoder": "none"}
_SHARED = ("hidden_features", "num_layers", "activation", "precision", "backend")
"""Options of the monotonic head that its free twin has as well."""


@dataclass(frozen=True)
class ComparedArm:
    """One arm.

    Attributes:
        head: of `MonoCon`.
        init: start of the head; None leaves it as it is.
        width: dimensions of a bottleneck; None leaves the recipe's.
        nested: trained on nested prefixes, and cut to a prefix.
    """

    head: str
    init: str | None = None
    width: int | None = None
    nested: bool = False

    def words(self, options: HeadOptions) -> list[str]:
        """Return the options of `fit` that make this arm of a recipe.

        Args:
            options: the recipe's ``head_options``, meant for its monotonic head.
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
    """Return the arm of that name.

    Raises:
        ValueError: If it is not one of those that can be compared.
    """
    kind, dash, detail = name.partition("-")
    if name in ("encoder", "mlp", "monotonic"):
        return ComparedArm("none" if name == "encoder" else name)
    if kind == "linear" and detail.isdecimal() and int(detail):
        return ComparedArm("linear", width=int(detail))
    if kind in ("mlp", "monotonic") and detail in _starts(kind):
        return ComparedArm(kind, init=detail)
    if kind == "matryoshka" and detail in _NESTED_HEADS and bool(dash) == bool(detail):
        return ComparedArm(_NESTED_HEADS[detail], nested=True)
    raise ValueError(
        f"`--arms` must be of {', '.join(ARMS)} (K: dimensions; START: reference, identity, lognormal, of a free head "
        f"squared instead of reference), got {name!r}."
    )


def _starts(kind: str) -> Sequence[str]:
    from lightning_monocon.heads.init import FreeInit, Init  # brings torch, which help does not need

    return get_args(Init) if kind == "monotonic" else [start for start in get_args(FreeInit) if start != "default"]


def head_options(recipe: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the ``head_options`` of a recipe, as the further options of `fit` change them.

    Raises:
        ValueError: If they are not a mapping.
    """
    import yaml

    found = dict((recipe.get("model") or {}).get("head_options") or {})
    flag = "--model.head_options"
    words = iter(overrides)
    for word in words:
        name, equals, value = word.partition("=")
        if name == flag or name.startswith(flag + "."):
            value = yaml.safe_load(value if equals else next(words, ""))
            change = {name.removeprefix(flag + "."): value} if name != flag else value or {}
            if not isinstance(change, dict):
                raise ValueError(f"`{flag}` must be a mapping such as {{init: identity}}, got {value!r}.")
            found = {**found, **change} if name != flag else change
    return found
