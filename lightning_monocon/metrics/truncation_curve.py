# SPDX-License-Identifier: Apache-2.0
"""Measure the truncation curve as a metric; see `lightning_monocon.functional.truncation_curve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.recall_at_k import check_ks
from lightning_monocon.functional.truncation_curve import check_dims, curve_of
from lightning_monocon.metrics.labelled import GalleryOptions, LabelledMetric


class TruncationCurve(LabelledMetric):
    """Compute k-NN accuracy and Recall@1 after projection to the gallery's first principal components.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)``, ``labels`` ``(N,)`` and ``role``.
    As output of ``compute`` it returns ``{"knn_accuracy/8", "recall@1/8"}`` and so on for each of ``dims``, 0-d
    float32 tensors in [0, 1]; NaN, with one warning, if gallery or query is empty.

    Args:
        dims: A number of kept dimensions, or several distinct ones.
        k: How many neighbours vote.
        metric: Must be ``"cosine"``.
        kwargs: Those of `GalleryOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``dims`` or ``k`` do not hold positive integers; at ``compute`` if ``dims`` exceed the features.

    Example:
        >>> metric = TruncationCurve(dims=(4,), k=1)
        >>> metric.update(torch.eye(4), torch.arange(4), role="gallery")
        >>> metric.update(torch.eye(4), torch.arange(4), role="query")
        >>> metric.compute()
        {'knn_accuracy/4': tensor(1.), 'recall@1/4': tensor(1.)}
    """

    def __init__(
        self,
        dims: int | Sequence[int],
        k: int = 5,
        metric: Literal["cosine"] = "cosine",
        **kwargs: Unpack[GalleryOptions],
    ) -> None:
        check_ks((k,))
        kept = check_dims(dims)
        if metric != "cosine":
            raise ValueError("`metric` must be 'cosine': projected rows are ranked by their cosine.")
        super().__init__(metric, **kwargs)
        self.dims, self.k = kept, k

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"knn_accuracy/k", "recall@1/k"}`` for each k of ``dims``, 0-d float32."""
        sides = self.sides(self.k)
        if sides is None:
            names = [f"{name}/{dim}" for dim in self.dims for name in ("knn_accuracy", "recall@1")]
            return self.reported({name: torch.tensor(torch.nan) for name in names})
        gallery, query = sides
        check_dims(self.dims, gallery.rows.shape[1])
        curve = curve_of(gallery.rows, gallery.labels, query.rows, query.labels, self.dims, self.k)
        return self.reported({f"{name}/{dim}": value for dim in curve for name, value in curve[dim].items()})
