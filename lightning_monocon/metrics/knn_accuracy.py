# SPDX-License-Identifier: Apache-2.0
"""Measure k-NN accuracy as a metric; see `lightning_monocon.functional.knn_accuracy`."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.knn_accuracy import accuracy_from_labels
from lightning_monocon.functional.neighbours import DistanceName
from lightning_monocon.functional.recall_at_k import check_ks
from lightning_monocon.metrics.labelled import GalleryOptions, LabelledMetric


class KNNAccuracy(LabelledMetric):
    """Compute the accuracy of a k-nearest-neighbour vote of the gallery on the query.

    As scikit-learn's ``KNeighborsClassifier``: uniform weights, the smallest of equally frequent labels wins; equal
    distances are ordered by the smaller gallery index.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)``, ``labels`` ``(N,)`` and ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor in [0, 1]; NaN, with one warning, if gallery or query is
    empty.

    Args:
        k: How many neighbours vote.
        metric: ``"cosine"`` or ``"euclidean"``.
        kwargs: Those of `GalleryOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``k`` is not a positive integer or ``metric`` is unknown.

    Example:
        >>> metric = KNNAccuracy(k=1)
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), role="gallery")
        >>> metric.update(torch.tensor([[1.0, 0.2], [0.9, 0.1]]), torch.tensor([0, 1]), role="query")
        >>> metric.compute()
        tensor(0.5000)
    """

    def __init__(self, k: int = 5, metric: DistanceName = "cosine", **kwargs: Unpack[GalleryOptions]) -> None:
        check_ks((k,))
        super().__init__(metric, **kwargs)
        self.k = k

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the accuracy, 0-d float32; of a bounded gallery a dict with the sizes of the sample beside it."""
        found = self.nearest_labels(self.k)
        value = torch.tensor(torch.nan) if found is None else accuracy_from_labels(*found)
        return self.result(value) if self.bounds["gallery"] is None else self.reported({"knn_accuracy": value})
