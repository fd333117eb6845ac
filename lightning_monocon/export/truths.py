# SPDX-License-Identifier: Apache-2.0
"""Know what the queries should find: rows of their label, known answers, pairs by their grades, or what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_monocon.export.gallery import Embedded, embed_rows
from lightning_monocon.export.lines import KNN
from lightning_monocon.functional.correlation_values import spearman_values
from lightning_monocon.functional.knn_accuracy import majority_vote
from lightning_monocon.functional.ndcg import ndcg, ndcg_per_query
from lightning_monocon.functional.neighbour_overlap import neighbour_overlap
from lightning_monocon.functional.relevance import Relevance, ideal_grades, relevant_rows
from lightning_monocon.functional.relevant_recall import relevant_recall
from lightning_monocon.functional.unit_rows import unit_rows

NEAREST = 10
_VOTERS = 5
_KNOWN = 0.5  # share of the queries whose label must occur in the gallery, or labels mean something else there
_ROWS_PER_CLASS = 2  # with fewer, a vote of five is drawn by lot
_DIGITS = 12  # of a cosine: more than float32 rows can tell, and without the rounding of float64

RowsOf = Callable[[Embedded], Tensor]
"""Makes the stored form ``(N, k)`` of embedded rows."""


class Known(NamedTuple):
    """Hold what is known of the rows beside their labels.

    Attributes:
        relevance: Which of the searched rows answer which query, by their places in the data sets; their loaders must
            not shuffle. Relevant rows are sampled before all others.
        pairs: Batches whose rows of pair ``i`` are labelled ``2 i`` and ``2 i + 1``, and the grades of the pairs.
    """

    relevance: Relevance | None = None
    pairs: tuple[Iterable[object], Sequence[float]] | None = None


NOTHING = Known()


@dataclass(frozen=True, eq=False)
class GradedPairs:
    """Hold embedded rows, the places ``(P,)`` of the two rows of each pair, and how alike they should be."""

    rows: Embedded
    left: Tensor = field(repr=False)
    right: Tensor = field(repr=False)
    grades: Tensor = field(repr=False)


class Truth(Protocol):
    """Describe what judges: one value of each figure for a query or a pair, and what an answer without skill gets."""

    @property
    def chance(self) -> float:
        """What is reached without skill, of the first figure."""
        ...

    def judge(self, found: Tensor, rows: RowsOf) -> dict[str, Tensor]:
        """Return the values ``(U,)`` by figure, from the found rows ``(Q, K)`` and the stored form."""
        ...


class LabelTruth:
    """Judge by labels that gallery and queries share: by a vote where classes have several rows, and by recall.

    Args:
        gallery: ``(M,)`` labels.
        query: ``(Q,)`` labels.
    """

    def __init__(self, gallery: Tensor, query: Tensor) -> None:
        self._labels, self._right = gallery, query
        classes = torch.unique(gallery)
        self.known = len(classes) > 1 and float(torch.isin(query, classes).double().mean()) >= _KNOWN
        self.votes = len(gallery) >= max(_ROWS_PER_CLASS * len(classes), _VOTERS)
        """Whether classes have enough rows for a vote."""

    @property
    def chance(self) -> float:
        """Share of the commonest label among the queries; without a vote, of the gallery among the ten nearest."""
        if not self.votes:
            return min(1.0, NEAREST / len(self._labels))
        return float(torch.unique(self._right, return_counts=True)[1].max()) / len(self._right)

    def judge(self, found: Tensor, rows: RowsOf) -> dict[str, Tensor]:
        """Return 5-NN accuracy where there is a vote, and whether a right label is among the nearest."""
        labels = self._labels[found]
        right = ((labels == self._right[:, None]).cumsum(1) > 0).double()
        deepest = found.shape[1]
        recall = {f"Recall@{r}": right[:, r - 1] for r in (deepest, 5, 1) if r <= deepest}  # the first is compared
        if not self.votes:
            return recall
        vote = majority_vote(labels[:, :_VOTERS]) == self._right
        return {KNN: vote.double(), **dict(reversed(recall.items()))}


class AnswerTruth:
    """Judge by known answers, the queries that have one.

    Args:
        relevance: By the places in the sample of searched rows and of queries.
        queries: Number of queries.
        rows: Number of searched rows.
    """

    def __init__(self, relevance: Relevance, queries: int, rows: int) -> None:
        self._relevance = relevance
        self._judged = relevant_rows(relevance, queries) > 0
        total = torch.zeros(queries, dtype=torch.float64).index_add_(0, relevance.query, relevance.grade)
        # at every rank of a random order the expected gain is the mean gain of all rows
        expected = (total / rows)[:, None].expand(-1, min(NEAREST, rows))
        ideal = ideal_grades(relevance, queries, NEAREST)
        self.chance = float(ndcg_per_query(expected, ideal, NEAREST)[self._judged].mean())

    def judge(self, found: Tensor, rows: RowsOf) -> dict[str, Tensor]:
        """Return nDCG@10 and the share of the answers among the ten nearest."""
        return {
            f"nDCG@{NEAREST}": ndcg(found, self._relevance, NEAREST)[self._judged],
            f"answers among the {NEAREST}": relevant_recall(found, self._relevance, NEAREST)[self._judged],
        }


class GradedTruth:
    """Judge by the order of graded pairs: their cosines should rise with their grades.

    Args:
        pairs: The pairs.
    """

    chance = 0.0

    def __init__(self, pairs: GradedPairs) -> None:
        self._pairs = pairs

    def judge(self, found: Tensor, rows: RowsOf) -> dict[str, Tensor]:
        """Return for each pair its value of Spearman's rank correlation, which is their mean."""
        unit = unit_rows(rows(self._pairs.rows).double())
        cosines = (unit[self._pairs.left] * unit[self._pairs.right]).sum(1).round(decimals=_DIGITS)
        return {"Spearman": spearman_values(cosines, self._pairs.grades)}


class NeighbourTruth:
    """Judge by what was found before: the encoder's search, and that of the head's whole output beside it.

    Nobody says that either is right, so this measures change, not quality.

    Args:
        encoder: ``(Q, K)`` rows that the encoder finds, nearest first.
        head: The same of the head's whole output.
        rows: Number of searched rows.
    """

    def __init__(self, encoder: Tensor, head: Tensor, rows: int) -> None:
        self._encoder, self._head, self._rows = encoder, head, rows

    @property
    def chance(self) -> float:
        """Overlap with rows that are drawn at random."""
        return self._encoder.shape[1] / self._rows

    def judge(self, found: Tensor, rows: RowsOf) -> dict[str, Tensor]:
        """Return the share of the encoder's nearest that are found, whether the first stays, and the head's share."""
        k = found.shape[1]
        return {
            f"overlap@{k} with the encoder": neighbour_overlap(found, self._encoder, k),
            "first answer kept": neighbour_overlap(found, self._encoder, 1),
            f"overlap@{k} with the head": neighbour_overlap(found, self._head, k),
        }


def sampled_relevance(relevance: Relevance, searched: Embedded, query: Embedded) -> Relevance:
    """Return the answers by the places in the samples, of the queries whose relevant rows are all in the sample.

    Raises:
        ValueError: If a place is not one of the data, or no query is left.
    """
    for name, places, data in (("rows", relevance.row, searched), ("queries", relevance.query, query)):
        if len(places) and int(places.max()) >= data.rows:
            raise ValueError(
                f"`relevance` must name {name} by their places in the data, of which there are {data.rows}; got "
                f"{int(places.max())}."
            )
    query_at, row_at = query.sampled_at(relevance.query), searched.sampled_at(relevance.row)
    torn = torch.unique(relevance.query[(row_at < 0) & (relevance.grade > 0)])
    kept = (query_at >= 0) & (row_at >= 0) & ~torch.isin(relevance.query, torn)
    if not bool((relevance.grade[kept] > 0).any()):
        raise ValueError(
            "`relevance` must name a relevant row for at least one query that is sampled with all its answers; there "
            "is none. Raise `sample`."
        )
    return Relevance(query_at[kept], row_at[kept], relevance.grade[kept])


def embed_pairs(model: LightningModule, batches: Iterable[object], grades: Sequence[float]) -> GradedPairs:
    """Embed graded pairs.

    Args:
        model: The trained module.
        batches: ``(inputs, labels)`` in any order; the rows of pair ``i`` have labels ``2 i`` and ``2 i + 1``.
        grades: ``(P,)``, larger for pairs that are more alike.

    Raises:
        ValueError: If the grades are not finite or all equal, or the batches lack a row of a pair.
    """
    known = torch.as_tensor(grades, dtype=torch.float64)
    if len(known) < 2 or not bool(torch.isfinite(known).all()) or bool((known == known[0]).all()):
        raise ValueError(
            f"`pairs` must have finite grades, at least two different ones; got {len(known)} grades. Leave it out if "
            "there are none."
        )
    rows = embed_rows(model, batches, 2 * len(known))
    if rows.labels.sort().values.tolist() != list(range(2 * len(known))) or rows.rows != 2 * len(known):
        raise ValueError(
            f"`pairs` must have the rows of pair i labelled 2 i and 2 i + 1, {2 * len(known)} rows for {len(known)} "
            f"grades; got {rows.rows} rows with labels from {int(rows.labels.min())} to {int(rows.labels.max())}."
        )
    left, right = rows.labels.argsort().reshape(-1, 2).unbind(1)
    return GradedPairs(rows, left, right, known)
