# SPDX-License-Identifier: Apache-2.0
"""Keep truths in a file of tensors, and read them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from lightning_monocon.scorecard.truths.graded import GradedTruth
from lightning_monocon.scorecard.truths.labels import LabelTruth
from lightning_monocon.scorecard.truths.neighbours import NeighbourTruth
from lightning_monocon.scorecard.truths.qrels import QrelsTruth
from lightning_monocon.scorecard.truths.truth import Truth

_KINDS: Mapping[str, Callable[..., Truth]] = {
    "labels": LabelTruth,
    "qrels": QrelsTruth,
    "graded": GradedTruth,
    "neighbours": NeighbourTruth,
}


def as_stored(truths: Sequence[Truth]) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of truths by name, and the rest of them as JSON."""
    tensors: dict[str, Tensor] = {}
    described: list[dict[str, Any]] = []
    for place, truth in enumerate(truths):
        values = {field.name: getattr(truth, field.name) for field in fields(truth)}  # type: ignore[arg-type]
        tensors |= {f"{place}:{name}": value for name, value in values.items() if isinstance(value, Tensor)}
        plain = {name: value for name, value in values.items() if not isinstance(value, Tensor)}
        described.append({"kind": truth.kind, **plain})
    return tensors, json.dumps(described)


def from_stored(tensors: Mapping[str, Tensor], described: str) -> tuple[Truth, ...]:
    """Return the truths that `as_stored` described."""
    truths = []
    for place, plain in enumerate(json.loads(described)):
        mine = f"{place}:"
        parts = {name.removeprefix(mine): part for name, part in tensors.items() if name.startswith(mine)}
        make = _KINDS[plain.pop("kind")]
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
        truths.append(make(**plain, **parts))
    return tuple(truths)
