# SPDX-License-Identifier: Apache-2.0
"""Judge by graded pairs: the cosines of pairs should be ordered as people's scores of their likeness are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from lightning_monocon.functional.correlation_values import pearson_values, spearman_values
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.scorecard.truths.truth import Found, Kind, Unit, digest, distinct

_TILE = 8192  # pairs that are taken to float64 at a time


@dataclass(frozen=True, eq=False)
class GradedTruth:
    """Know how alike the two rows of each pair are, such as the sentences of STS-B.

    Measures ``spearman`` and ``pearson``, the correlations of the pairs' cosines with their scores, as one value for
    each pair (:mod:`lightning_monocon.functional.correlation_values`). Cosines that are equal but for rounding share
    the mean of their ranks, so that no order of the pairs decides; if all are equal, both correlations are 0.

    Args:
        name: How tables call it, such as ``"stsb-dev"``.
        left: ``(P,)`` row numbers of the first of each pair.
        right: ``(P,)`` row numbers of the second.
        scores: ``(P,)`` finite numbers, larger for pairs that are more alike.
        side: Which rows are meant: ``"query"``, ``"gallery"``, or a name of :attr:`EmbeddingSet.sides`.

    Raises:
        TypeError: If row numbers are not integers.
        ValueError: If shapes differ, there are fewer than two pairs, a row number is negative, or the scores are not
            finite or all equal.
    """

    name: str
    left: Tensor = field(repr=False)
    right: Tensor = field(repr=False)
    scores: Tensor = field(repr=False)
    side: str = "query"

    kind: ClassVar[Kind] = "graded"
    unit: ClassVar[Unit] = "pair"

    def __post_init__(self) -> None:
        for name in ("left", "right"):
            object.__setattr__(self, name, _row_numbers(name, getattr(self, name)))
        scores = self.scores.detach().cpu().double()
        object.__setattr__(self, "scores", scores)
        if not self.left.shape == self.right.shape == scores.shape:
            shapes = [tuple(part.shape) for part in (self.left, self.right, scores)]
            raise ValueError(
                f"`left`, `right` and `scores` must be (P,) alike; got {shapes[0]}, {shapes[1]}, {shapes[2]}."
            )
        if not torch.isfinite(scores).all():
            raise ValueError(
                f"`scores` must be finite; {int((~torch.isfinite(scores)).sum())} of {len(scores)} are not."
            )
        if len(scores) < 2 or bool((scores == scores[0]).all()):
            raise ValueError(
                f"`scores` must hold at least two different numbers, otherwise they order nothing; got {len(scores)} "
                "pairs of one score."
            )

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the class's docstring, the first of which arms are compared by."""
        return ("spearman", "pearson")

    @property
    def chance(self) -> float:
        """Correlation of an order at random."""
        return 0.0

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: the answers are taken as they are given."""
        return ()

    @property
    def units(self) -> int:
        """Number of pairs."""
        return len(self.scores)

    @property
    def different(self) -> int:
        """Number of different pairs: one that is listed again, either way round, is no further evidence."""
        low, high = torch.minimum(self.left, self.right), torch.maximum(self.left, self.right)
        return len(torch.unique(torch.stack([low, high], 1), dim=0))

    @property
    def key(self) -> str:
        """Digest of the pairs and their scores."""
        return digest(self.kind, self.left, self.right, self.scores)

    @property
    def answers(self) -> Tensor:
        """No row of the gallery, unless the pairs are of it."""
        rows = torch.cat([self.left, self.right]) if self.side == "gallery" else self.left[:0]
        return distinct(rows)

    def needs(self) -> tuple[tuple[str, int, bool], ...]:
        """Return the side and the rows that the pairs reach to."""
        return ((self.side, 1 + int(torch.cat([self.left, self.right]).max()), False),)

    def depth(self, rows: int) -> int:
        """Return 0: pairs are compared without a search."""
        return 0

    def judge(self, found: Found) -> dict[str, Tensor]:
        """Return for each pair its value of each correlation."""
        cosines = pair_cosines(found.side(self.side), self.left, self.right)
        return {
            "spearman": spearman_values(cosines, self.scores),
            "pearson": pearson_values(cosines, self.scores),
        }

    def onto(self, rows: Tensor) -> GradedTruth | None:
        """Return itself; None if the pairs are of the gallery."""
        return None if self.side == "gallery" else self


def pair_cosines(rows: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return the cosine ``(P,)`` of the rows ``left`` and ``right`` of ``(R, k)``; 0 with a row of zeros.

    Float64, rounded to 12 decimals: ten thousand times the rounding error, and far below what float32 rows can tell.
    """
    parts = zip(torch.split(left, _TILE), torch.split(right, _TILE), strict=True)
    found = torch.cat([(unit_rows(rows[a].double()) * unit_rows(rows[b].double())).sum(1) for a, b in parts])
    return found.round(decimals=12)


def _row_numbers(name: str, values: Tensor) -> Tensor:
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise TypeError(f"`{name}` must hold row numbers; got {values.dtype}: cast with `.long()`.")
    if values.ndim != 1 or (len(values) and int(values.min()) < 0):
        got = f"shape {tuple(values.shape)}" if values.ndim != 1 else f"{int(values.min())}"
        raise ValueError(f"`{name}` must be (P,) row numbers from 0 on; got {got}.")
    return values.detach().cpu().to(torch.int64)
