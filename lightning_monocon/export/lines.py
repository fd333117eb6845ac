# SPDX-License-Identifier: Apache-2.0
"""Hold what is found with the rows stored in one way or another, and compare two ways on the same queries or pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from lightning_monocon.functional.paired_mean import query_interval

Kind = Literal["labels", "qrels", "graded", "neighbours"]
"""What a figure is true of: class labels, known answers, graded pairs, or the neighbours that the encoder finds."""

TRUTHS: Mapping[Kind, str] = {"labels": "class labels", "qrels": "known answers", "graded": "graded pairs"}
"""Kinds that tell right from wrong, and what they are called; neighbours measure change alone."""

KNN = "5-NN accuracy"


@dataclass(frozen=True, eq=False)
class Line:
    """Hold one way to store the rows, and what is found with it.

    Attributes:
        name: What is stored.
        dims: Numbers in a vector.
        bytes: Bytes of one vector.
        values: By kind of truth, as far as there is one, and by figure one float64 value ``(U,)`` for each query or
            pair; the first figure of a kind is the one that is compared.
    """

    name: str
    dims: int
    bytes: int
    values: Mapping[Kind, Mapping[str, Tensor]] = field(repr=False)

    def figure(self, kind: Kind, name: str) -> float:
        """Return the mean of a figure over the queries or pairs; NaN where there is none."""
        values = self.values.get(kind, {}).get(name)
        return math.nan if values is None else float(values.mean())

    def first(self, kind: Kind) -> str:
        """Return the name of the figure that is compared."""
        return next(iter(self.values[kind]))

    @property
    def knn_accuracy(self) -> float:
        """Share of queries that the 5-NN vote gets right; NaN where there is none."""
        return self.figure("labels", KNN)

    def recall(self, r: int) -> float:
        """Return the share of queries with their label among the r nearest, r of 1, 5, 10; NaN without such labels."""
        return self.figure("labels", f"Recall@{r}")

    @property
    def neighbours_kept(self) -> float:
        """Share of the ten rows that the encoder finds nearest which are among the ten found."""
        return self.figure("neighbours", self.first("neighbours"))

    @property
    def first_kept(self) -> float:
        """Share of queries whose first answer is the encoder's."""
        return self.figure("neighbours", "first answer kept")


@dataclass(frozen=True)
class Loss:
    """Hold a fall of ``figure`` by ``points`` of a hundred between two lines, 95 % from ``low`` to ``high``.

    A rise has points below zero.
    """

    before: str
    after: str
    figure: str
    points: float
    low: float
    high: float
    kind: Kind = "labels"

    def sentence(self) -> str:
        """Return the loss, or the gain, in words."""
        return f"{self.after} instead of {self.before} {self.words()}."

    def words(self) -> str:
        """Return what is lost or gained, without what by."""
        low, high = (self.low, self.high) if self.points >= 0 else (-self.high, -self.low)
        units = "pairs" if self.kind == "graded" else "queries"
        return (
            f"{'loses' if self.points >= 0 else 'gains'} {abs(self.points):.2f} points of {self.figure} "
            f"(95 % over {units}: {low:.2f} to {high:.2f})"
        )


def loss(before: Line, after: Line, kind: Kind) -> Loss:
    """Return what is lost of the first figure of a truth from one line to another, paired."""
    figure = before.first(kind)
    lost = before.values[kind][figure] - after.values[kind][figure]
    low, high = query_interval([lost.numpy()])
    return Loss(before.name, after.name, figure, 100 * float(lost.mean()), 100 * low, 100 * high, kind)


def judging(line: Line) -> tuple[Kind, ...]:
    """Return the kinds of truth that tell right from wrong; the encoder's neighbours where there is none."""
    found: list[Kind] = [kind for kind in line.values if kind in TRUTHS]
    return tuple(found) or ("neighbours",)


def losses_of(lines: Sequence[Line]) -> tuple[Loss, ...]:
    """Return what is lost by each truth: shipped against encoder, the cut against the whole output, codes against both.

    What the shipped vectors keep of the encoder's neighbours comes with it, whatever else is known.
    """
    encoder, _, whole, exported, *codes = lines
    steps = [(whole, exported), *((before, each) for each in codes for before in (whole, exported))]
    kinds = judging(encoder)
    always = () if kinds == ("neighbours",) else (loss(encoder, lines[-1], "neighbours"),)
    shipped = (*(loss(encoder, lines[-1], kind) for kind in kinds), *always)
    return (*shipped, *(loss(before, after, kind) for before, after in steps for kind in kinds))
