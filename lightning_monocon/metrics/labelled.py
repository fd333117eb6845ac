# SPDX-License-Identifier: Apache-2.0
"""Base of the metrics that search the gallery for every query: rows and labels of both roles."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, check_labels, finite_rows, warn_degenerate
from lightning_monocon.functional.knn_accuracy import check_classes
from lightning_monocon.functional.neighbours import DistanceName, check_k, check_metric, neighbours
from lightning_monocon.metrics.streaming import ROLES, Role, StreamingMetric, check_role


class LabelledMetric(StreamingMetric):
    """States: embeddings and labels of gallery and query, as given, on each rank; they are gathered at ``compute``.

    Metrics with the same states share one update in a ``MetricCollection``.
    """

    gallery_rows: list[Tensor]
    query_rows: list[Tensor]

    def __init__(self, metric: DistanceName = "cosine", **kwargs: Any) -> None:  # noqa: ANN401 - the options of torchmetrics.Metric
        check_metric(metric)
        super().__init__(**kwargs)
        self.metric: DistanceName = metric
        for role in ROLES:
            self.add_state(f"{role}_rows", [], dist_reduce_fx="cat")
            self.add_state(f"{role}_labels", [], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, labels: Tensor | None = None, role: Role = "gallery") -> None:
        """Add rows.

        Args:
            embeddings: ``(N, D)``, float16, bfloat16, float32 or float64; ``N`` may be 0.
            labels: ``(N,)`` integers.
            role: Whether they are searched (``"gallery"``) or search (``"query"``).

        Raises:
            TypeError: If ``embeddings`` are no floating tensor, or ``labels`` are missing or no integers.
            ValueError: If a shape, width or role is wrong, or a row is not finite.
        """
        check_role(role)
        held: list[Tensor] = self.gallery_rows + self.query_rows
        rows = check_embeddings(embeddings, width=held[0].shape[1] if held else None)
        known = check_labels(labels, len(rows))
        finite_rows(rows, "error")
        with torch.inference_mode(False):
            # A copy, so that neither an inference tensor nor a later change in place gets into the state.
            getattr(self, f"{role}_rows").append(rows.to(self.state_device, copy=True))
            getattr(self, f"{role}_labels").append(known.to(self.state_device, copy=True))

    def _both(self, role: str) -> tuple[Tensor, Tensor]:
        rows, labels = getattr(self, f"{role}_rows"), getattr(self, f"{role}_labels")
        if isinstance(rows, Tensor):  # gathered from the ranks
            return rows, labels
        if not rows:
            return torch.empty(0, 1), torch.empty(0, dtype=torch.int64)
        return torch.cat(rows), torch.cat(labels)

    def nearest_labels(self, k: int) -> tuple[Tensor, Tensor] | None:
        """Return the labels of the k nearest ``(N, k)`` and the queries' own ``(N,)``; None and one warning of none.

        Raises:
            ValueError: If the gallery has fewer than k rows or one class only.
        """
        gallery, gallery_labels = self._both("gallery")
        query, query_labels = self._both("query")
        if not len(gallery) or not len(query):
            warn_degenerate(f"A search needs gallery and query rows, got {len(gallery)} and {len(query)}")
            return None
        check_k(k, len(gallery))
        check_classes(gallery_labels)
        wide = torch.promote_types(gallery.dtype, query.dtype)
        found = neighbours(gallery.to(wide), query.to(wide), k, self.metric).indices
        return gallery_labels.to(found.device)[found], query_labels.to(found.device)
