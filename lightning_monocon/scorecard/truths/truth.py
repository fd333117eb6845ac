# SPDX-License-Identifier: Apache-2.0
"""Say what a scorecard asks of a truth: the known answers that embeddings are held against.

A truth judges one stored form of an embedding at a time, and gives for each of its measures one number per unit: per
query, or per pair of rows. Every figure of a scorecard is the mean of such numbers, so frontiers, intervals, winners
and verdicts need not know what kind of truth is behind them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from lightning_monocon.functional.neighbours import DistanceName
from lightning_monocon.functional.red_flags import ACCURACY_LOSS, NEIGHBOURS_LOST

Kind = Literal["labels", "qrels", "graded", "neighbours"]
Unit = Literal["query", "pair"]

MARGINS: Mapping[Kind, float] = {
    "labels": ACCURACY_LOSS,
    "qrels": ACCURACY_LOSS,
    "graded": ACCURACY_LOSS,
    "neighbours": NEIGHBOURS_LOST,
}
"""How much of the first measure a compact embedding may lose, by kind of truth."""


@dataclass(frozen=True, eq=False)
class Found:
    """Hold one stored form of an embedding: its vectors as a search sees them, and what a search finds.

    Attributes:
        gallery: ``(N, k)`` vectors, cut to k numbers and decoded.
        query: ``(Q, k)``.
        sides: Further rows by name, ``(R, k)`` each.
        metric: The distance that ranks them.
        nearest: ``(Q, depth)`` rows of the gallery, nearest first, as deep as the deepest truth asks; empty if none
            asks.
    """

    gallery: Tensor
    query: Tensor
    sides: Mapping[str, Tensor] = field(default_factory=dict)
    metric: DistanceName = "cosine"
    nearest: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))

    def side(self, name: str) -> Tensor:
        """Return the rows of that name: ``"query"``, ``"gallery"`` or one of ``sides``."""
        return {"query": self.query, "gallery": self.gallery, **self.sides}[name]


class Truth(Protocol):
    """Judge embeddings by answers that are known.

    Attributes:
        kind: What the answers are.
        name: How tables call this truth.
        measures: Names of what is measured; arms are compared by the first.
        unit: What one number stands for.
        units: How many units there are.
        key: Digest of the units and their answers: two scores are compared in pairs only if it is equal.
        chance: What an answer without skill reaches in the first measure.
        warnings: Why this truth itself should be doubted; empty as a rule.
        answers: Gallery rows that the truth names, ascending; a gallery that lacks one is not judged.
    """

    kind: ClassVar[Kind]
    unit: ClassVar[Unit]

    @property
    def name(self) -> str: ...  # noqa: D102  (documented above)
    @property
    def measures(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def units(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def chance(self) -> float: ...  # noqa: D102
    @property
    def warnings(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def answers(self) -> Tensor: ...  # noqa: D102

    def needs(self) -> tuple[tuple[str, int, bool], ...]:
        """Return what it is about: names of sides, rows of each, and whether it must be just as many."""
        ...

    def depth(self, rows: int) -> int:
        """Return how many nearest rows of a gallery of ``rows`` the truth looks at; 0 if it asks for no search."""
        ...

    def judge(self, found: Found) -> dict[str, Tensor]:
        """Return for each measure the numbers of the units, ``(U,)`` float64."""
        ...

    def onto(self, rows: Tensor) -> Truth | None:
        """Return the same truth about a gallery that consists of the given rows ``(N',)`` of this one, with its key.

        None if it says nothing about that gallery.
        """
        ...


def digest(kind: Kind, *tensors: Tensor) -> str:
    """Return a short digest of tensors: equal for equal numbers in equal places."""
    found = hashlib.sha256(kind.encode())
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def distinct(values: Tensor) -> Tensor:
    """Return the different numbers, ascending."""
    found: Tensor = torch.unique(values)
    return found
