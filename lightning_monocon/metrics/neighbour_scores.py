# SPDX-License-Identifier: Apache-2.0
"""Measure k-NN accuracy and Recall@k with one search; see `lightning_monocon.functional.neighbour_scores`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.neighbour_scores import scores_from_labels
from lightning_monocon.functional.neighbours import DistanceName
from lightning_monocon.functional.recall_at_k import check_ks
from lightning_monocon.metrics.labelled import GalleryOptions, LabelledMetric


class NeighbourScores(LabelledMetric):
    """Compute k-NN accuracy and Recall@k for several k with one search of the gallery.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)``, ``labels`` ``(N,)`` and ``role``.
    As output of ``compute`` it returns ``{"knn_accuracy", "recall@1", "recall@5"}`` (one recall for each k), 0-d
    float32 tensors in [0, 1]; NaN, with one warning, if gallery or query is empty.

    Args:
        k: How many neighbours vote.
        recall_k: A number of neighbours, or several distinct ones.
        metric: ``"cosine"`` or ``"euclidean"``.
        kwargs: Those of `GalleryOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``k`` or ``recall_k`` do not hold positive integers or ``metric`` is unknown.

    Example:
        >>> metric = NeighbourScores(k=1, recall_k=(1, 2))
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), role="gallery")
        >>> metric.update(torch.tensor([[1.0, 0.2]]), torch.tensor([1]), role="query")
        >>> metric.compute()
        {'knn_accuracy': tensor(0.), 'recall@1': tensor(0.), 'recall@2': tensor(1.)}
    """

    def __init__(
        self,
        k: int = 5,
        recall_k: int | Sequence[int] = (1, 5),
        metric: DistanceName = "cosine",
        **kwargs: Unpack[GalleryOptions],
    ) -> None:
        check_ks((k,))
        ks = check_ks(recall_k)
        super().__init__(metric, **kwargs)
        self.k, self.recall_k = k, ks

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"knn_accuracy", "recall@k"...}``, 0-d float32."""
        found = self.nearest_labels(max(self.k, *self.recall_k))
        if found is None:
            names = ("knn_accuracy", *(f"recall@{n}" for n in self.recall_k))
            return self.reported({name: torch.tensor(torch.nan) for name in names})
        return self.reported(scores_from_labels(*found, self.k, self.recall_k))
