# SPDX-License-Identifier: Apache-2.0
"""Judge by relevance: for each query some rows of the gallery are known to be answers, better or worse ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

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
        keys, order = (self.query * self.rows + self.row).sort()
        kept = order[~torch.isin(keys, self.excluded[:, 0] * self.rows + self.excluded[:, 1])]
        for name in ("query", "row", "grade"):
            object.__setattr__(self, name, getattr(self, name)[kept])
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
        mean_gain = self._sums(self.grade.double()) / self._candidates
        return float((mean_gain * _discounts(min(_FIRST, self.rows)).sum() / self._ideal).mean())

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
        grades = self._grades(self._ranking(found.nearest[self.judged]))  # (U, depth)
        relevant = (grades > 0).double()
        ranks = torch.arange(1, grades.shape[1] + 1, dtype=torch.float64)
        total = self._sums((self.grade > 0).double())
        gains = grades[:, :_FIRST] * _discounts(grades[:, :_FIRST].shape[1])
        precision = relevant.cumsum(1) / ranks
        return {
            "ndcg@10": gains.sum(1) / self._ideal,
            **{f"recall@{k}": relevant[:, :k].sum(1) / total for k in (1, 10, 100)},
            "mrr@10": (relevant / ranks)[:, :_FIRST].amax(1),
            "map@100": (precision * relevant).sum(1) / total,
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
    def _ideal(self) -> Tensor:
        """DCG@10 ``(U,)`` of the best order."""
        order = self.grade.argsort(descending=True, stable=True)
        order = order[self.query[order].argsort(stable=True)]
        query, grade = self.query[order], self.grade[order]
        rank = torch.arange(len(query)) - torch.searchsorted(query, query)
        discount = torch.where(rank < _FIRST, 1 / (rank.double() + 2).log2(), 0.0)
        return self._sums(grade * discount)

    @property
    def _candidates(self) -> Tensor:
        """Rows ``(U,)`` that each judged query can find."""
        return (self.rows - self.excluded[:, 0].bincount(minlength=self.queries))[self.judged].double()

    def _sums(self, values: Tensor) -> Tensor:
        """Return the sums ``(U,)`` of values ``(P,)`` over the pairs of each judged query."""
        return torch.zeros(self.queries, dtype=torch.float64).index_add_(0, self.query, values)[self.judged]

    def _grades(self, ranking: Tensor) -> Tensor:
        """Return the grades ``(U, depth)`` of a ranking of the judged queries, float64."""
        known = self.query * self.rows + self.row
        wanted = self.judged[:, None] * self.rows + ranking
        place = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
        return torch.where(known[place] == wanted, self.grade[place], 0).double()

    def _ranking(self, nearest: Tensor) -> Tensor:
        """Return what the judged queries find ``(U, depth)``, without the rows that are excluded for them."""
        if len(self.excluded):
            pairs = self.excluded[:, 0] * self.rows + self.excluded[:, 1]
            same = torch.isin(self.judged[:, None] * self.rows + nearest, pairs)
            # They move behind all others, where they have no grade.
            nearest = nearest.gather(1, same.to(torch.int8).argsort(dim=1, stable=True))
        return nearest[:, :_DEPTH]


def _discounts(count: int) -> Tensor:
    return 1 / torch.arange(2, count + 2, dtype=torch.float64).log2()


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
    keys, count = torch.unique(truth.query * truth.rows + truth.row, return_counts=True)
    if int(count.max()) > 1:
        pair = int(keys[count.argmax()])
        raise ValueError(
            f"`query` and `row` must name each pair once; query {pair // truth.rows} and row {pair % truth.rows} occur "
            f"{int(count.max())} times."
        )
