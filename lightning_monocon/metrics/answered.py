# SPDX-License-Identifier: Apache-2.0
"""Hold the rows and ids of gallery and query, for the metrics that know which rows answer which query."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.average_precision import average_precision_per_query
from lightning_monocon.functional.checks import check_choice, check_labels, warn_degenerate
from lightning_monocon.functional.ndcg import ndcg_per_query
from lightning_monocon.functional.neighbours import DistanceName, neighbours
from lightning_monocon.functional.reciprocal_rank import reciprocal_rank_per_query
from lightning_monocon.functional.relevance import Relevance, grades_of, ideal_grades, relevant_rows
from lightning_monocon.functional.relevant_recall import relevant_recall_per_query
from lightning_monocon.metrics.rows import HeldRows, RowsMetric
from lightning_monocon.metrics.streaming import MetricOptions, Role

Figure: TypeAlias = Literal["ndcg", "mrr", "map", "recall"]

_SHOWN = 3
_AGREEMENT = 0.01
"""Share of its length by which a row may differ from an earlier one with its id: batches of other sizes round apart."""


class Judged(NamedTuple):
    """Hold what the queries with a relevant row have found.

    Attributes:
        grades: ``(Q, K)`` float64, of the found rows, nearest first.
        ideal: ``(Q, k)`` float64, of the best ranking.
        relevant: ``(Q,)`` int64, how many rows are relevant.
    """

    grades: Tensor
    ideal: Tensor
    relevant: Tensor


_PER_QUERY: dict[Figure, Callable[[Judged, int], Tensor]] = {
    "ndcg": lambda judged, k: ndcg_per_query(judged.grades, judged.ideal, k),
    "mrr": lambda judged, k: reciprocal_rank_per_query(judged.grades, judged.relevant, k),
    "map": lambda judged, k: average_precision_per_query(judged.grades, judged.relevant, k),
    "recall": lambda judged, k: relevant_recall_per_query(judged.grades, judged.relevant, k),
}


class AnsweredOptions(MetricOptions, total=False):
    """Type the keyword arguments of the metrics with known answers, beside those of `torchmetrics.Metric`.

    Attributes:
        metric: ``"cosine"``, the default, or ``"euclidean"``.
        exclude_own_id: Leave the gallery row with the query's own id out of its ranking, as BEIR does; false by
            default.
    """

    metric: DistanceName
    exclude_own_id: bool


class AnsweredMetric(RowsMetric):
    """Hold the rows and ids of gallery and query, and judge what each query finds by its known answers.

    Rows are ranked exactly, and equally near ones by ascending id, so that the value depends neither on the batches nor
    on the ranks. Memory: every row of both roles as given, and 8 bytes for its id; a sample of the gallery would raise
    every figure.

    Args:
        relevance: The answers; ``query`` and ``row`` are ids of the roles.
        metric: ``"cosine"`` or ``"euclidean"``.
        exclude_own_id: Leave the gallery row with the query's own id out of its ranking.
        kwargs: Those of `torchmetrics.Metric`.
    """

    labelled = True  # ids are kept where other metrics keep labels
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(
        self,
        relevance: Relevance,
        metric: DistanceName = "cosine",
        exclude_own_id: bool = False,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        if not isinstance(relevance, Relevance):
            raise TypeError(
                f"`relevance` must be a Relevance(query, row, grade) of ids; got {type(relevance).__name__}."
            )
        check_choice("metric", metric, get_args(DistanceName))
        super().__init__({"gallery": None, "query": None}, **kwargs)
        self.relevance = relevance
        self.metric: DistanceName = metric
        self.exclude_own_id = exclude_own_id

    def _name(self, role: Role, part: str) -> str:
        # ids that happen to equal the labels of a first batch must not join the two kinds in one group
        return f"answered_{super()._name(role, part)}"

    def update(self, embeddings: Tensor, ids: Tensor | None = None, role: Role = "gallery") -> None:
        """Add rows.

        Args:
            embeddings: ``(N, D)``, float16, bfloat16, float32 or float64; ``N`` may be 0.
            ids: ``(N,)`` integers, which the answers name. An id that comes again in a role counts once, as for the
                samples that a `DistributedSampler` repeats.
            role: Whether they are searched (``"gallery"``) or search (``"query"``).

        Raises:
            TypeError: If ``embeddings`` is not a floating-point tensor, or ``ids`` are missing or not integers.
            ValueError: If a shape, width or role is wrong, or a row is not finite.
        """
        if ids is None:
            raise TypeError(
                "`ids` must name each embedding by an integer; got None. Pass the samples' places in the data, for "
                "example."
            )
        self._add(role, embeddings, check_labels(ids, len(embeddings), "ids"))

    def judged(self, k: int) -> Judged | None:
        """Return what each query with a relevant row finds among k rows; None, with one warning, if there is no such.

        Raises:
            ValueError: If a relevant row is not in the gallery, or two different rows of a role have the same id.
        """
        gallery, query = self._once("gallery"), self._once("query")
        if not len(gallery.rows) or not len(query.rows):
            warn_degenerate(f"A search needs gallery and query rows, got {len(gallery.rows)} and {len(query.rows)}")
            return None
        answers = _placed(self.relevance, query.labels, gallery.labels)
        asked = torch.unique(answers.query)
        if not len(asked):
            warn_degenerate(f"None of the {len(query.rows)} queries has a relevant row")
            return None

        answers = Relevance(torch.searchsorted(asked, answers.query), answers.row, answers.grade)
        wide = torch.promote_types(gallery.rows.dtype, query.rows.dtype)
        found = self._found(gallery, HeldRows(query.rows[asked], query.labels[asked], len(asked)), k, wide)
        answers = answers.to(found.device)
        count = len(asked)
        return Judged(grades_of(found, answers), ideal_grades(answers, count, k), relevant_rows(answers, count))

    def _found(self, gallery: HeldRows, query: HeldRows, k: int, dtype: torch.dtype) -> Tensor:
        """Return the places of the k nearest rows ``(Q, K)``, of all rows if there are fewer."""
        count = len(gallery.rows)
        depth = min(k + int(self.exclude_own_id), count)
        found = neighbours(gallery.rows.to(dtype), query.rows.to(dtype), depth, self.metric).indices
        if not self.exclude_own_id:
            return found
        own = gallery.labels.to(found.device)[found] == query.labels.to(found.device)[:, None]
        last = own.to(torch.int8).argsort(dim=1, stable=True)
        # a place behind the gallery, where no answer is
        return found.masked_fill(own, count).gather(1, last)[:, :k]

    def _once(self, role: Role) -> HeldRows:
        """Return the rows of a role by ascending id, each id once."""
        held = self.held(role)
        order = held.labels.argsort(stable=True)
        rows, ids = held.rows[order], held.labels[order]
        again = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        again[1:] = ids[1:] == ids[:-1]
        if again.any():
            _check_equal(rows, ids, again, role)
        return HeldRows(rows[~again], ids[~again], held.seen)

    def scores(self, wanted: Iterable[tuple[Figure, int]]) -> dict[str, Tensor]:
        """Return ``{"ndcg_at_10"...}`` for figures and depths from one search, 0-d float32; NaN as from `judged`."""
        asked = tuple(wanted)
        judged = self.judged(max(k for _, k in asked))
        nothing = torch.tensor(torch.nan)
        return {
            f"{figure}_at_{k}": self.result(nothing if judged is None else _PER_QUERY[figure](judged, k).mean())
            for figure, k in asked
        }


def _check_equal(rows: Tensor, ids: Tensor, again: Tensor, role: Role) -> None:
    """Raise ValueError if a row with the id of the row before it is another one."""
    later = torch.nonzero(again).flatten()
    first, second = rows[later - 1].to(torch.float64), rows[later].to(torch.float64)
    apart = (first - second).norm(dim=1) > _AGREEMENT * first.norm(dim=1)
    if apart.any():
        raise ValueError(
            f"`ids` must name each {role} row once; id {int(ids[later[apart][0]])} has two different rows. Pass the "
            "samples' places in the data, for example, and reset the metric between two epochs."
        )


def _placed(relevance: Relevance, queries: Tensor, rows: Tensor) -> Relevance:
    """Return the relevant answers of the queries that were asked, ids replaced by places in ascending ids."""
    query, at = _looked_up(relevance.query.to(queries.device), queries)
    kept = query & (relevance.grade.to(queries.device) > 0)
    wanted, grade = relevance.row.to(rows.device)[kept], relevance.grade.to(rows.device)[kept]
    known, row = _looked_up(wanted, rows)
    if not known.all():
        missing = torch.unique(wanted[~known])
        shown = ", ".join(map(str, missing[:_SHOWN].tolist()))
        raise ValueError(
            f"`relevance` must name rows of the gallery; {len(missing)} of its ids are not among the {len(rows)} rows, "
            f"such as {shown}. Add the whole gallery, or leave those answers out."
        )
    return Relevance(at[kept], row, grade)


def _looked_up(wanted: Tensor, ascending: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether each id is among ``ascending`` ids, and where."""
    at = torch.searchsorted(ascending, wanted).clamp_(max=len(ascending) - 1)
    return ascending[at] == wanted, at
