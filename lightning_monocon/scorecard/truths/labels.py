# SPDX-License-Identifier: Apache-2.0
"""Judge by class labels: a neighbour is right if it has the query's label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from lightning_monocon.functional.knn_accuracy import majority_vote
from lightning_monocon.scorecard.truths.truth import Found, Kind, Unit, digest

NEIGHBOURS = 5
"""Neighbours that vote in the k-NN classifier; the gallery needs at least as many rows."""

MAJORITY = NEIGHBOURS // 2 + 1
"""Gallery rows that a class needs to win the 5-NN vote; with fewer, the tie rule of the vote decides."""

RECALL_AT = (1, 2, 5, 10, 20, 50)
"""Neighbours among which a right label counts for Recall@r, as far as the gallery has rows."""


@dataclass(frozen=True, eq=False)
class LabelTruth:
    """Know the class of every row.

    Measures ``knn_accuracy``, whether the 5-NN vote is right, and ``recall@r``, whether a right label is among the r
    nearest.

    Args:
        gallery: ``(N,)`` int64 labels.
        query: ``(Q,)`` int64 labels.
        name: How tables call it.
    """

    gallery: Tensor = field(repr=False)
    query: Tensor = field(repr=False)
    name: str = "labels"

    kind: ClassVar[Kind] = "labels"
    unit: ClassVar[Unit] = "query"

    @property
    def measures(self) -> tuple[str, ...]:
        """``knn_accuracy``, and ``recall@r`` as far as the gallery has rows."""
        return ("knn_accuracy", *(f"recall@{r}" for r in RECALL_AT if r <= len(self.gallery)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: the answers are taken as they are given."""
        return ()

    @property
    def units(self) -> int:
        """Number of queries."""
        return len(self.query)

    @property
    def key(self) -> str:
        """Digest of the queries' labels."""
        return digest(self.kind, self.query)

    @property
    def chance(self) -> float:
        """Accuracy of always answering the gallery's most common label."""
        return float((self.query == self.gallery.mode().values).double().mean())

    @property
    def constant(self) -> float:
        """Accuracy of the best constant answer on these queries, which is never below ``chance``."""
        return float(torch.unique(self.query, return_counts=True)[1].max()) / len(self.query)

    @property
    def thin(self) -> int:
        """Queries whose class cannot have the majority of the vote."""
        labels, counts = torch.unique(self.gallery, return_counts=True)
        return int((~torch.isin(self.query, labels[counts >= MAJORITY])).sum())

    @property
    def answers(self) -> Tensor:
        """No row: every row has a label, and none is the one answer."""
        return torch.empty(0, dtype=torch.int64)

    def needs(self) -> tuple[tuple[str, int, bool], ...]:
        """Return the rows of both sides."""
        return ("gallery", len(self.gallery), True), ("query", len(self.query), True)

    def depth(self, rows: int) -> int:
        """Return the neighbours of the deepest recall."""
        return min(RECALL_AT[-1], rows)

    def judge(self, found: Found) -> dict[str, Tensor]:
        """Return which queries are right, 1 or 0."""
        right = self.gallery[found.nearest[:, : RECALL_AT[-1]]]  # (Q, neighbours) labels
        votes = majority_vote(right[:, :NEIGHBOURS])
        within = (right == self.query[:, None]).cumsum(1) > 0
        hits = {f"recall@{r}": within[:, r - 1] for r in RECALL_AT if r <= within.shape[1]}
        return {name: hit.double() for name, hit in {"knn_accuracy": votes == self.query, **hits}.items()}

    def onto(self, rows: Tensor) -> LabelTruth:
        """Return the labels of a gallery that consists of the given rows."""
        return LabelTruth(self.gallery[rows], self.query, self.name)
