# SPDX-License-Identifier: Apache-2.0
"""Measure which answers of a head are proved, as a metric; see `lightning_monocon.heads.certify_neighbours`."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_labels, warn_degenerate
from lightning_monocon.functional.knn_accuracy import check_classes
from lightning_monocon.functional.named_argument import named
from lightning_monocon.functional.neighbours import check_k
from lightning_monocon.functional.relevance import check_depth
from lightning_monocon.heads.base import Head
from lightning_monocon.heads.certify import certify_neighbours, check_eps, check_head, check_least
from lightning_monocon.metrics.rows import RowsMetric
from lightning_monocon.metrics.streaming import MetricOptions, Role

_NAMES = ("accuracy", "certified_accuracy", "certified_label", "certified_nearest")


class CertifiedAccuracy(RowsMetric):
    """Compute the share of queries whose k-NN label is right and provably stays while their features move a little.

    Neighbours are those by cosine among the head's outputs. The head is used as it is at ``compute``, and is no part of
    the metric's state: a clone of the metric holds a copy of it.

    As input to ``update`` the metric accepts ``features`` ``(N, in_features)``, ``labels`` ``(N,)`` and ``role``.
    As output of ``compute`` it returns ``{"accuracy", "certified_accuracy", "certified_label", "certified_nearest"}``,
    0-d float32 tensors in [0, 1], shares of the queries: the label is right; it is right and proved; it is proved,
    right or wrong; the nearest row is proved. NaN, with one warning, if gallery or query is empty.

    Args:
        head: The head.
        eps: How far each feature of a query may move, at least 0: one number, or one for each feature ``(D,)``.
        k: How many neighbours vote.
        least: Limit that features never fall below, such as 0 behind a ReLU.
        kwargs: Those of `torchmetrics.Metric`.

    Raises:
        TypeError: If ``head`` is not one of the package's heads, or ``eps`` or ``least`` not numbers.
        ValueError: If ``eps`` or ``least`` is not finite, ``eps`` is negative or neither one number nor one for each
            feature, or ``k`` is not a positive integer; at ``compute`` if the gallery has fewer than k rows or one
            class only, or a query lies below ``least``.

    Example:
        >>> from lightning_monocon.heads import MonotonicMLP
        >>> metric = CertifiedAccuracy(MonotonicMLP(2, init="identity"), eps=0.1, k=1)
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), role="gallery")
        >>> metric.update(torch.tensor([[1.0, 0.2], [0.6, 0.5]]), torch.tensor([0, 0]), role="query")
        >>> {name: float(value) for name, value in metric.compute().items()}
        {'accuracy': 1.0, 'certified_accuracy': 0.5, 'certified_label': 0.5, 'certified_nearest': 0.5}
    """

    labelled = True
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(
        self, head: Head, eps: float | Tensor, k: int = 5, least: float | None = None, **kwargs: Unpack[MetricOptions]
    ) -> None:
        check_head(head)
        check_eps(eps, (head.in_features,))
        check_least(least)
        check_depth(k)
        super().__init__({"gallery": None, "query": None}, **kwargs)
        self._head = (head,)  # not a child: its weights belong to the model, and move and are saved with that
        self.eps, self.k, self.least = eps, k, least

    def _name(self, role: Role, part: str) -> str:
        # features that happen to equal the embeddings of a first batch must not join the two kinds in one group
        return f"certified_{super()._name(role, part)}"

    def update(self, features: Tensor, labels: Tensor | None = None, role: Role = "gallery") -> None:
        """Add features.

        Args:
            features: ``(N, in_features)``, what the head takes; ``N`` may be 0.
            labels: ``(N,)`` integers.
            role: Whether they are searched (``"gallery"``) or search (``"query"``).

        Raises:
            TypeError: If ``features`` is not a floating-point tensor, or ``labels`` are missing or not integers.
            ValueError: If a shape, width or role is wrong, or a row is not finite.
        """
        (head,) = self._head
        if features.ndim == 2 and features.shape[1] != head.in_features:
            raise ValueError(
                f"`features` must have the {head.in_features} numbers that the head takes; got {features.shape[1]}. "
                "Give what the encoder returns, not embeddings."
            )
        with named("features", "embeddings"):
            self._add(role, features, check_labels(labels, len(features)))

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"accuracy", "certified_accuracy", "certified_label", "certified_nearest"}``, 0-d float32."""
        gallery, query = self.held("gallery"), self.held("query")
        if not len(gallery.rows) or not len(query.rows):
            warn_degenerate(f"A search needs gallery and query rows, got {len(gallery.rows)} and {len(query.rows)}")
            return {name: self.result(torch.tensor(torch.nan)) for name in _NAMES}
        check_k(self.k, len(gallery.rows))
        check_classes(gallery.labels)
        (head,) = self._head
        found = certify_neighbours(head, gallery.rows, gallery.labels, query.rows, self.eps, self.k, self.least)
        right = found.vote == query.labels
        values = (right, right & found.label, found.label, found.nearest)
        return {name: self.result(value.double().mean()) for name, value in zip(_NAMES, values, strict=True)}
