# SPDX-License-Identifier: Apache-2.0
"""Hold which gallery rows answer which query, and look the found rows up in it.

The measures of a ranking with known answers (`ndcg`, `reciprocal_rank`, `average_precision`, `relevant_recall`) are
made of what this module returns. They follow trec_eval: a row without a grade is not relevant, neither is one whose
grade is 0 or negative; the gain of a row is its grade; rows that are equally near count in the order in which they are
given. A query without a relevant row has no value (NaN), since every ranking is as good for it; pytrec_eval gives it 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_MOST = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Relevance:
    """Hold the graded answers of queries; pairs that are not named have grade 0.

    Attributes:
        query: ``(P,)`` integers, the places of the queries, ascending.
        row: ``(P,)`` integers, the places of the rows in the gallery, ascending within a query.
        grade: ``(P,)`` float64, finite; negative grades become 0, as in trec_eval.

    Args:
        query: In any order, any integer dtype.
        row: As many.
        grade: As many, any real dtype.

    Raises:
        TypeError: If ``query`` or ``row`` are not integer tensors, or ``grade`` is not a tensor of numbers.
        ValueError: If the shapes differ, a place is negative, a grade is not finite, or a pair occurs twice.

    Example:
        >>> Relevance(torch.tensor([1, 0]), torch.tensor([4, 2]), torch.tensor([1, 2])).row
        tensor([2, 4])
    """

    query: Tensor
    row: Tensor
    grade: Tensor

    def __post_init__(self) -> None:
        """Check the pairs, and sort them."""
        query, row = _places(self.query, "query"), _places(self.row, "row")
        grade = _grades(self.grade)
        if not len(query) == len(row) == len(grade):
            raise ValueError(
                f"`query`, `row` and `grade` must have one entry for each pair; got {len(query)}, {len(row)} and "
                f"{len(grade)}."
            )

        by_row = row.argsort(stable=True)
        order = by_row[query[by_row].argsort(stable=True)]
        query, row, grade = query[order], row[order], grade[order]
        twice = torch.nonzero((query[1:] == query[:-1]) & (row[1:] == row[:-1])).flatten()
        if len(twice):
            raise ValueError(
                f"`query` and `row` must name each pair once; row {int(row[twice[0]])} is named twice for query "
                f"{int(query[twice[0]])}. Keep one grade of each pair."
            )

        for name, value in (("query", query), ("row", row), ("grade", grade)):
            object.__setattr__(self, name, value)  # frozen for everybody else

    def to(self, device: torch.device) -> Relevance:
        """Return the same answers on another device."""
        return Relevance(self.query.to(device), self.row.to(device), self.grade.to(device))


def _integers(tensor: Tensor, name: str) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.dtype not in _INTEGERS:
        got = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"`{name}` must be a tensor of integers; got {got}. Cast places with `.long()`.")
    return tensor.detach().to(torch.int64)


def _places(tensor: Tensor, name: str) -> Tensor:
    places = _integers(tensor, name)
    if places.ndim != 1:
        raise ValueError(f"`{name}` must be one-dimensional, one entry for each pair; got shape {tuple(places.shape)}.")
    if len(places) and int(places.min()) < 0:
        raise ValueError(f"`{name}` must hold places, which count from 0; got {int(places.min())}.")
    return places


def _grades(tensor: Tensor) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.is_complex():
        got = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"`grade` must be a tensor of numbers; got {got}.")
    grade = tensor.detach().to(torch.float64)
    if grade.ndim != 1:
        raise ValueError(f"`grade` must be one-dimensional, one entry for each pair; got shape {tuple(grade.shape)}.")
    if not torch.isfinite(grade).all():
        raise ValueError(
            f"`grade` must be finite; {int((~torch.isfinite(grade)).sum())} of {len(grade)} are not. Leave those pairs "
            "out, or grade them 0."
        )
    return grade.clamp(min=0.0)


def check_found(found: Tensor, name: str = "found") -> Tensor:
    """Return ``found`` as int64 if it is a list of distinct gallery rows for each query.

    Raises:
        TypeError: If it is not a tensor of integers.
        ValueError: If it is not ``(Q, K)`` with ``K >= 1``, a place is negative, or a query has a row twice.
    """
    rows = _integers(found, name)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"`{name}` must be (Q, K), the nearest rows of each query; got shape {tuple(rows.shape)}.")
    if rows.numel() and int(rows.min()) < 0:
        raise ValueError(f"`{name}` must hold places of gallery rows, which count from 0; got {int(rows.min())}.")
    ascending = rows.sort(dim=1).values
    twice = torch.nonzero(ascending[:, 1:] == ascending[:, :-1])
    if len(twice):
        query, place = twice[0].tolist()
        raise ValueError(
            f"`{name}` must name each row once in a list; query {query} has row {int(ascending[query, place])} twice. "
            "A repeated row would count as a second answer."
        )
    return rows


def check_depth(k: int, name: str = "k") -> int:
    """Return ``k``, how many found rows count; raise ValueError unless it is a positive integer."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"`{name}` must be a positive integer, how many found rows count; got {k!r}.")
    return k


def check_queries(relevance: Relevance, queries: int) -> None:
    """Raise ValueError if the answers name a query beyond the ``queries`` that were asked."""
    if len(relevance.query) and int(relevance.query[-1]) >= queries:
        raise ValueError(
            f"`relevance` must name queries 0 to {queries - 1}, which were asked; got {int(relevance.query[-1])}. Give "
            "`found` a list for every query, or leave its answers out."
        )


def grades_of(found: Tensor, relevance: Relevance) -> Tensor:
    """Return the grade ``(Q, K)`` of each found row, float64; 0 for rows that are not named.

    Args:
        found: ``(Q, K)`` gallery rows of each query, nearest first, as `neighbours` finds them; ``K`` may be smaller
            than the gallery.
        relevance: The answers; its places are those of ``found``.

    Raises:
        TypeError: If ``found`` is not a tensor of integers.
        ValueError: If ``found`` is not ``(Q, K)``, names a row twice for a query, or ``relevance`` names more queries.

    Example:
        >>> relevance = Relevance(torch.tensor([0, 0]), torch.tensor([2, 4]), torch.tensor([1, 3]))
        >>> grades_of(torch.tensor([[4, 0, 2]]), relevance)
        tensor([[3., 0., 1.]], dtype=torch.float64)
    """
    rows = check_found(found)
    check_queries(relevance, len(rows))
    if not len(relevance.query) or not len(rows):
        return torch.zeros(rows.shape, dtype=torch.float64, device=rows.device)
    known = relevance if relevance.query.device == rows.device else relevance.to(rows.device)

    width = 1 + max(int(known.row.max()), int(rows.max()))
    if width > _MOST // len(rows):
        raise ValueError(f"`found` must hold places of gallery rows, not numbers such as {width - 1}.")
    keys = known.query * width + known.row
    asked = torch.arange(len(rows), device=rows.device)[:, None] * width + rows
    place = torch.searchsorted(keys, asked).clamp_(max=len(keys) - 1)
    return torch.where(keys[place] == asked, known.grade[place], 0.0)


def ideal_grades(relevance: Relevance, queries: int, k: int) -> Tensor:
    """Return the grades ``(Q, k)`` of the best ranking of each query: its highest, descending, then zeros.

    Raises:
        ValueError: If ``k`` is not a positive integer or ``relevance`` names more than ``queries``.

    Example:
        >>> relevance = Relevance(torch.tensor([0, 0]), torch.tensor([2, 4]), torch.tensor([1, 3]))
        >>> ideal_grades(relevance, queries=1, k=3)
        tensor([[3., 1., 0.]], dtype=torch.float64)
    """
    check_depth(k)
    check_queries(relevance, queries)
    by_grade = relevance.grade.argsort(descending=True, stable=True)
    order = by_grade[relevance.query[by_grade].argsort(stable=True)]
    query, grade = relevance.query[order], relevance.grade[order]

    count = torch.bincount(query, minlength=queries)
    rank = torch.arange(len(query), device=query.device) - (count.cumsum(0) - count)[query]
    ideal = grade.new_zeros(queries, k)
    ideal[query[rank < k], rank[rank < k]] = grade[rank < k]
    return ideal


def relevant_rows(relevance: Relevance, queries: int) -> Tensor:
    """Return how many rows ``(Q,)`` are relevant to each query: those with a grade above 0, int64.

    Raises:
        ValueError: If ``relevance`` names more than ``queries``.

    Example:
        >>> relevant_rows(Relevance(torch.tensor([0, 0]), torch.tensor([2, 4]), torch.tensor([0, 3])), queries=2)
        tensor([1, 0])
    """
    check_queries(relevance, queries)
    return torch.bincount(relevance.query[relevance.grade > 0], minlength=queries)
