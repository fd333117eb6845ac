# SPDX-License-Identifier: Apache-2.0
"""Judge by relevance: for each query some rows of the gallery are known to be answers, better or worse ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from lightning_monocon.functional.average_precision import average_precision_per_query
from lightning_monocon.functional.ndcg import ndcg_per_query
from lightning_monocon.functional.reciprocal_rank import reciprocal_rank_per_query
from lightning_monocon.functional.relevance import Relevance, grades_of, ideal_grades, relevant_rows
from lightning_monocon.functional.relevant_recall import relevant_recall_per_query
from lightning_monocon.scorecard.truths.truth import Found, Kind, Unit, digest, distinct

_DEPTH = 100
"""Rows of a ranking that the deepest measures look at."""

_FIRST = 10
"""Rows of a ranking that nDCG and MRR look at."""


@dataclass(frozen=True, eq=False)
class QrelsTruth:
    """Know the relevant rows of each query, as the qrels of an information retrieval collection do.

    Measures ``ndcg@10``, ``recall@1``, ``recall@10``, ``recall@100``, ``mrr@10`` and ``map@100``, each as trec_eval
    defines it: gains are the grades, discounts are 1 / log2(rank + 1). Rows without a grade are not relevant. Queries
    without a relevant row are left out of the means, and counted in ``left_out``.

    Args:
        query: ``(P,)`` query numbers.
        row: ``(P,)`` gallery rows.
        grade: ``(P,)`` whole relevance grades, 0 for rows that are judged not to be relevant.
        queries: Q, number of queries.
        rows: N, rows of the gallery.
        name: How tables call it, such as ``"scifact-test"``.
        excluded: ``(E, 2)`` pairs of a query and a gallery row that are the same thing, left out of the ranking.

    Raises:
        TypeError: If numbers are not integers.
        ValueError: If shapes do not fit, a number is out of range, a grade is negative, a pair occurs twice, or no
            query has a relevant row.
    """

    query: Tensor = field(repr=False)
    row: Tensor = field(repr=False)
    grade: Tensor = field(repr=False)
    queries: int
    rows: int
    name: str = "qrels"
    excluded: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.int64), repr=False)
    original: str = field(default="", repr=False)
    """Key of the truth that this one was made of by `onto`; empty for an original."""

    kind: ClassVar[Kind] = "qrels"
    unit: ClassVar[Unit] = "query"

    def __post_init__(self) -> None:
        for name in ("query", "row", "grade", "excluded"):
            values = getattr(self, name)
            if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
                raise TypeError(f"`{name}` must hold integers; got {values.dtype}: cast with `.long()`.")
            object.__setattr__(self, name, values.detach().cpu().to(torch.int64))
        _check(self)
        known = Relevance(self.query, self.row, self.grade)  # which are sorted
        same = self.excluded[:, 0] * self.rows + self.excluded[:, 1]
        kept = ~torch.isin(known.query * self.rows + known.row, same)
        for name in ("query", "row", "grade"):
            object.__setattr__(self, name, getattr(known, name)[kept].long())
        if not bool((self.grade > 0).any()):
            raise ValueError("`grade` must be positive for at least one pair, otherwise no query has an answer.")

    @cached_property
    def judged(self) -> Tensor:
        """``(U,)`` numbers of the queries with a relevant row, ascending."""
        return distinct(self.query[self.grade > 0])

    @property
    def left_out(self) -> int:
        """Number of queries without a relevant row."""
        return self.queries - self.units

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the class's docstring, the first of which arms are compared by."""
        return ("ndcg@10", "recall@1", "recall@10", "recall@100", "mrr@10", "map@100")

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: the answers are taken as they are given."""
        return ()

    @property
    def units(self) -> int:
        """Number of queries with a relevant row."""
        return len(self.judged)

    @property
    def key(self) -> str:
        """Digest of queries, relevant rows and grades."""
        return self.original or self._digest

    @cached_property
    def _digest(self) -> str:
        return digest(self.kind, self.query, self.row, self.grade, self.excluded)

    @property
    def chance(self) -> float:
        """Expected nDCG@10 of a random order of the gallery."""
        total = torch.zeros(self.queries, dtype=torch.float64).index_add_(0, self.query, self.grade.double())
        excluded = self.excluded[:, 0].bincount(minlength=self.queries)
        # At every rank of a random order the expected gain is the mean gain of the rows that may stand there.
        expected = (total / (self.rows - excluded))[self.judged, None].expand(-1, min(_FIRST, self.rows))
        return float(ndcg_per_query(expected, self._ideal, _FIRST).mean())

    @property
    def answers(self) -> Tensor:
        """Rows of the gallery that are relevant to a query, ascending."""
        return distinct(self.row[self.grade > 0])

    def needs(self) -> tuple[tuple[str, int, bool], ...]:
        """Return the rows of both sides."""
        return ("gallery", self.rows, True), ("query", self.queries, True)

    def depth(self, rows: int) -> int:
        """Return 100, and as many more as a query has excluded rows."""
        most = int(self.excluded[:, 0].bincount().max()) if len(self.excluded) else 0
        return min(_DEPTH + most, rows)

    def judge(self, found: Found) -> dict[str, Tensor]:
        """Return the measures of the queries that have a relevant row."""
        grades = grades_of(self._ranking(found.nearest), self._relevance)[self.judged]
        relevant = relevant_rows(self._relevance, self.queries)[self.judged]
        return {
            "ndcg@10": ndcg_per_query(grades, self._ideal, _FIRST),
            **{f"recall@{k}": relevant_recall_per_query(grades, relevant, k) for k in (1, _FIRST, _DEPTH)},
            "mrr@10": reciprocal_rank_per_query(grades, relevant, _FIRST),
            "map@100": average_precision_per_query(grades, relevant, _DEPTH),
        }

    def onto(self, rows: Tensor) -> QrelsTruth | None:
        """Return the qrels of a gallery of the given rows, whose copies are relevant too; None if an answer is lost."""
        if not torch.isin(self.answers, rows).all():
            return None
        order = rows.argsort(stable=True)
        pair, place = _copies(rows[order], self.row)
        twin, other = _copies(rows[order], self.excluded[:, 1])
        return replace(
            self,
            query=self.query[pair],
            row=order[place],
            grade=self.grade[pair],
            rows=len(rows),
            excluded=torch.stack([self.excluded[twin, 0], order[other]], 1),
            original=self.key,
        )

    @cached_property
    def _relevance(self) -> Relevance:
        return Relevance(self.query, self.row, self.grade)

    @cached_property
    def _ideal(self) -> Tensor:
        """Grades ``(U, 10)`` of the best order."""
        return ideal_grades(self._relevance, self.queries, _FIRST)[self.judged]

    def _ranking(self, nearest: Tensor) -> Tensor:
        """Return what the queries find ``(Q, depth)``, without the rows that are excluded for them."""
        if len(self.excluded):
            pairs = self.excluded[:, 0] * self.rows + self.excluded[:, 1]
            same = torch.isin(torch.arange(self.queries)[:, None] * self.rows + nearest, pairs)
            # They move behind all others, where they have no grade.
            nearest = nearest.gather(1, same.to(torch.int8).argsort(dim=1, stable=True))
        return nearest[:, :_DEPTH]


def _copies(known: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return every pair of places ``(i, j)`` with ``wanted[i] == known[j]``; ``known`` ascends."""
    low, high = (torch.searchsorted(known, wanted, right=right) for right in (False, True))
    count = high - low
    i = torch.arange(len(wanted)).repeat_interleave(count)
    start = (count.cumsum(0) - count).repeat_interleave(count)
    return i, low[i] + torch.arange(len(i)) - start


def _check(truth: QrelsTruth) -> None:
    shapes = [tuple(part.shape) for part in (truth.query, truth.row, truth.grade)]
    if len(set(shapes)) > 1 or truth.query.ndim != 1 or not len(truth.query):
        raise ValueError(
            f"`query`, `row` and `grade` must be (P,) alike with P >= 1; got {', '.join(map(str, shapes))}."
        )
    if truth.excluded.ndim != 2 or truth.excluded.shape[1] != 2:
        raise ValueError(f"`excluded` must be (E, 2), a query and a row each; got {tuple(truth.excluded.shape)}.")
    ranges = (("query", truth.query, truth.queries), ("row", truth.row, truth.rows))
    pairs = (("excluded", truth.excluded[:, 0], truth.queries), ("excluded", truth.excluded[:, 1], truth.rows))
    for name, values, limit in (*ranges, *pairs):
        if wrong := values[(values < 0) | (values >= limit)].tolist():
            raise ValueError(f"`{name}` must lie between 0 and {limit - 1}; got {wrong[:3]}.")
    if int(truth.grade.min()) < 0:
        raise ValueError(
            f"`grade` must not be negative; got {int(truth.grade.min())}: write 0 for rows that are no answer."
        )
