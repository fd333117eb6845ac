# SPDX-License-Identifier: Apache-2.0
"""Hold the rows and labels of gallery and query, for the metrics that search the gallery."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_choice, check_labels, warn_degenerate
from lightning_monocon.functional.knn_accuracy import check_classes
from lightning_monocon.functional.neighbours import DistanceName, check_k, neighbours
from lightning_monocon.metrics.rows import HeldRows, RowsMetric, check_bound
from lightning_monocon.metrics.streaming import MetricOptions, Role


class GalleryOptions(MetricOptions, total=False):
    """Type the keyword arguments of the metrics that search a gallery, beside those of `torchmetrics.Metric`.

    Attributes:
        max_gallery: Search a seeded sample of at most so many gallery rows; None, the default, for all.
        seed: Chooses the sample; 0 by default.
    """

    max_gallery: int | None
    seed: int


class LabelledMetric(RowsMetric):
    """Hold rows and labels of gallery and query.

    Args:
        metric: ``"cosine"`` or ``"euclidean"``.
        max_gallery: Search a seeded sample of at most so many gallery rows; None for all. The result then says so:
            ``gallery_kept`` and ``gallery_seen`` are beside the values.
        seed: Chooses the sample.
        kwargs: Those of `torchmetrics.Metric`.
    """

    labelled = True
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(
        self,
        metric: DistanceName = "cosine",
        max_gallery: int | None = None,
        seed: int = 0,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        check_choice("metric", metric, get_args(DistanceName))
        check_bound("max_gallery", max_gallery)
        super().__init__({"gallery": max_gallery, "query": None}, seed, **kwargs)
        self.metric: DistanceName = metric

    def update(self, embeddings: Tensor, labels: Tensor | None = None, role: Role = "gallery") -> None:
        """Add rows.

        Args:
            embeddings: ``(N, D)``, float16, bfloat16, float32 or float64; ``N`` may be 0.
            labels: ``(N,)`` integers.
            role: Whether they are searched (``"gallery"``) or search (``"query"``).

        Raises:
            TypeError: If ``embeddings`` is not a floating-point tensor, or ``labels`` are missing or not integers.
            ValueError: If a shape, width or role is wrong, or a row is not finite.
        """
        self._add(role, embeddings, check_labels(labels, len(embeddings)))

    def sides(self, k: int) -> tuple[HeldRows, HeldRows] | None:
        """Return gallery and query of one dtype, fit for a search of k; None, with one warning, if a side is empty.

        Raises:
            ValueError: If the gallery has fewer than k rows or one class only.
        """
        gallery, query = self.held("gallery"), self.held("query")
        if not len(gallery.rows) or not len(query.rows):
            warn_degenerate(f"A search needs gallery and query rows, got {len(gallery.rows)} and {len(query.rows)}")
            return None
        check_k(k, len(gallery.rows))
        check_classes(gallery.labels)
        wide = torch.promote_types(gallery.rows.dtype, query.rows.dtype)
        return gallery._replace(rows=gallery.rows.to(wide)), query._replace(rows=query.rows.to(wide))

    def nearest_labels(self, k: int) -> tuple[Tensor, Tensor] | None:
        """Return the labels of the k nearest ``(N, k)`` and the queries' own ``(N,)``; None as from `sides`."""
        sides = self.sides(k)
        if sides is None:
            return None
        gallery, query = sides
        found = neighbours(gallery.rows, query.rows, k, self.metric).indices
        return gallery.labels.to(found.device)[found], query.labels.to(found.device)

    def reported(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the values as float32, with the size of the sample of the gallery if there is one."""
        return self._with_sizes(values, "gallery", "gallery")
