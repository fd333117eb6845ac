# SPDX-License-Identifier: Apache-2.0
"""Measure Recall@k as a metric; see `lightning_monocon.functional.recall_at_k`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.neighbours import DistanceName
from lightning_monocon.functional.recall_at_k import check_ks, recall_from_labels
from lightning_monocon.metrics.labelled import GalleryOptions, LabelledMetric


class RecallAtK(LabelledMetric):
    """Compute the share of queries with a same-label gallery row among the k nearest, for one or several k.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)``, ``labels`` ``(N,)`` and ``role``.
    As output of ``compute`` it returns ``{"recall@1", "recall@5"}`` (one entry for each k), 0-d float32 tensors in
    [0, 1]; NaN, with one warning, if gallery or query is empty.

    Args:
        k: A number of neighbours, or several distinct ones.
        metric: ``"cosine"`` or ``"euclidean"``.
        kwargs: Those of `GalleryOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``k`` is not a positive integer nor holds distinct ones, or ``metric`` is unknown.

    Example:
        >>> metric = RecallAtK(k=(1, 2))
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), role="gallery")
        >>> metric.update(torch.tensor([[1.0, 0.2]]), torch.tensor([1]), role="query")
        >>> metric.compute()
        {'recall@1': tensor(0.), 'recall@2': tensor(1.)}
    """

    def __init__(
        self, k: int | Sequence[int] = (1, 5), metric: DistanceName = "cosine", **kwargs: Unpack[GalleryOptions]
    ) -> None:
        self_k = check_ks(k)
        super().__init__(metric, **kwargs)
        self.k = self_k

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"recall@k": value}`` for each k, 0-d float32."""
        found = self.nearest_labels(max(self.k))
        if found is None:
            return self.reported({f"recall@{n}": torch.tensor(torch.nan) for n in self.k})
        return self.reported({f"recall@{n}": value for n, value in recall_from_labels(*found, self.k).items()})
