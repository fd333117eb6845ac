# SPDX-License-Identifier: Apache-2.0
"""Measure how much of a reference's search result stays, as a metric; see `functional.neighbour_overlap`."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_choice, check_embeddings, finite_rows, warn_degenerate
from lightning_monocon.functional.neighbour_overlap import neighbour_overlap
from lightning_monocon.functional.neighbours import DistanceName, check_k, neighbours
from lightning_monocon.functional.rank_biased_overlap import check_persistence, rank_biased_overlap
from lightning_monocon.functional.relevance import check_depth
from lightning_monocon.functional.row_keys import row_keys
from lightning_monocon.metrics.rows import join_in_place
from lightning_monocon.metrics.streaming import ROLES, MetricOptions, Role, StreamingMetric, check_role

_SIDES = ("embeddings", "reference")


class NeighbourOverlap(StreamingMetric):
    """Compare what queries find in an embedding with what they find in a reference: a change, not a loss of quality.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)``, ``reference`` ``(N, R)``, the same inputs'
    rows in the other space, and ``role``.
    As output of ``compute`` it returns ``{"overlap_at_10", "rbo_at_10", "first_kept"}`` (of the k asked for), 0-d
    float32 tensors in [0, 1], means over the queries: the share of the k nearest that stays, the extrapolated
    rank-biased overlap, and how often the first answer stays; NaN, with one warning, if gallery or query is empty.

    Equally near rows are ordered by the content of their rows, so that the value depends neither on the batches nor on
    the ranks. Memory: every row of both spaces, as given.

    Args:
        k: How many rows of each list count.
        p: Persistence of the rank-biased overlap, between 0 and 1.
        metric: ``"cosine"`` or ``"euclidean"``.
        kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``k`` is not a positive integer, ``p`` does not lie between 0 and 1, or ``metric`` is unknown; at
            ``compute`` if the gallery has fewer than k rows.

    Example:
        >>> rows = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
        >>> metric = NeighbourOverlap(k=5)
        >>> metric.update(2.0 * rows.flip(1), rows, role="gallery")
        >>> metric.update(2.0 * rows.flip(1), rows, role="query")
        >>> metric.compute()["overlap_at_5"]
        tensor(1.)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(
        self, k: int = 10, p: float = 0.9, metric: DistanceName = "cosine", **kwargs: Unpack[MetricOptions]
    ) -> None:
        check_depth(k)
        check_persistence(p)
        check_choice("metric", metric, get_args(DistanceName))
        super().__init__(**kwargs)
        self.k, self.p = k, p
        self.metric: DistanceName = metric
        for role in ROLES:
            for side in _SIDES:
                self.add_state(f"compared_{role}_{side}", [], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, reference: Tensor, role: Role = "gallery") -> None:
        """Add rows of both spaces.

        Args:
            embeddings: ``(N, D)``, float16, bfloat16, float32 or float64; ``N`` may be 0.
            reference: ``(N, R)``, of the same inputs in the same order.
            role: Whether they are searched (``"gallery"``) or search (``"query"``).

        Raises:
            TypeError: If an input is not a floating-point tensor.
            ValueError: If a shape, width or role is wrong, the numbers of rows differ, or a row is not finite.
        """
        check_role(role)
        given = {"embeddings": embeddings, "reference": reference}
        for side, rows in given.items():
            held = [part for other in ROLES for part in self._parts(other, side)]
            given[side] = check_embeddings(rows, side, width=held[0].shape[1] if held else None)
            finite_rows(rows, "error", side)
        if len(embeddings) != len(reference):
            raise ValueError(
                f"`reference` must have {len(embeddings)} rows, the same inputs as `embeddings`; got {len(reference)}."
            )
        with torch.inference_mode(False):
            for side, rows in given.items():
                self._parts(role, side).append(rows.to(self.state_device, copy=True))

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"overlap_at_k", "rbo_at_k", "first_kept"}``, 0-d float32."""
        gallery, query = self._ordered("gallery"), self._ordered("query")
        names = (f"overlap_at_{self.k}", f"rbo_at_{self.k}", "first_kept")
        if not len(gallery[0]) or not len(query[0]):
            warn_degenerate(f"A search needs gallery and query rows, got {len(gallery[0])} and {len(query[0])}")
            return {name: self.result(torch.tensor(torch.nan)) for name in names}
        check_k(self.k, len(gallery[0]))
        found, reference = (
            neighbours(rows.to(wide), asked.to(wide), self.k, self.metric).indices
            for rows, asked in zip(gallery, query, strict=True)
            for wide in (torch.promote_types(rows.dtype, asked.dtype),)
        )
        values = (
            neighbour_overlap(found, reference, self.k),
            rank_biased_overlap(found, reference, self.k, self.p),
            neighbour_overlap(found, reference, 1),
        )
        return {name: self.result(value.mean()) for name, value in zip(names, values, strict=True)}

    def _parts(self, role: Role, side: str) -> list[Tensor]:
        parts: list[Tensor] = getattr(self, f"compared_{role}_{side}")  # until the ranks are gathered
        return parts

    def _ordered(self, role: Role) -> tuple[Tensor, Tensor]:
        """Return embeddings and reference in the order of their keys, which no batch and no rank changes."""
        rows, reference = (self._joined(role, side) for side in _SIDES)
        order = row_keys(rows).argsort(stable=True)
        order = order[row_keys(reference)[order].argsort(stable=True)]
        return rows[order], reference[order]

    def _joined(self, role: Role, side: str) -> Tensor:
        state: Tensor | list[Tensor] = getattr(self, f"compared_{role}_{side}")
        if isinstance(state, Tensor):  # gathered from the ranks
            return state
        if len(state) > 1:
            join_in_place(state)
        return state[0] if state else torch.empty(0, 1)
