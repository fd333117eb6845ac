# SPDX-License-Identifier: Apache-2.0
"""Measure whether the majority of the nearest gallery rows shares the query's label."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_labels, warn_degenerate
from lightning_monocon.functional.neighbours import DistanceName, neighbours


def check_classes(gallery_labels: Tensor) -> None:
    """Raise ValueError if the gallery has rows of one class only: every vote would be unanimous."""
    if len(gallery_labels) and bool((gallery_labels == gallery_labels[0]).all()):
        raise ValueError(
            f"`gallery_labels` must hold at least two classes; all {len(gallery_labels)} are {int(gallery_labels[0])}."
            " With one class every answer is right."
        )


def nearest_labels(
    gallery: Tensor, gallery_labels: Tensor, query: Tensor, query_labels: Tensor, k: int, metric: DistanceName
) -> tuple[Tensor, Tensor]:
    """Return the labels of the k nearest gallery rows ``(N, k)`` and the queries' own ``(N,)``, on one device."""
    known = check_labels(gallery_labels, len(gallery), "gallery_labels")
    truth = check_labels(query_labels, len(query), "query_labels")
    check_classes(known)
    found = neighbours(gallery, query, k, metric).indices
    return known.to(found.device)[found], truth.to(found.device)


def majority_vote(labels: Tensor) -> Tensor:
    """Return the most frequent label of each row of ``(N, k)`` neighbour labels; the smallest of equally frequent.

    That is how scikit-learn's ``KNeighborsClassifier`` breaks ties.
    """
    votes = (labels[:, :, None] == labels[:, None, :]).sum(dim=2)
    lost = votes < votes.amax(dim=1, keepdim=True)
    return labels.masked_fill(lost, torch.iinfo(labels.dtype).max).amin(dim=1)


def accuracy_from_labels(nearest: Tensor, query_labels: Tensor) -> Tensor:
    """Return the share of queries whose neighbours ``(N, k)`` vote for their label; NaN, with one warning, if none."""
    if not len(query_labels):
        warn_degenerate("k-NN accuracy needs at least 1 query row, got 0")
        return torch.tensor(torch.nan, dtype=torch.float64, device=nearest.device)
    return (majority_vote(nearest) == query_labels).to(torch.float64).mean()


def knn_accuracy(
    gallery: Tensor,
    gallery_labels: Tensor,
    query: Tensor,
    query_labels: Tensor,
    k: int = 5,
    metric: DistanceName = "cosine",
) -> Tensor:
    """Return the accuracy of a k-nearest-neighbour vote, 0-d float64 in [0, 1].

    As scikit-learn's ``KNeighborsClassifier(k, metric=metric)``: uniform weights, the smallest of equally frequent
    labels wins. Equal distances are ordered by the smaller gallery index.

    Args:
        gallery: ``(M, D)``, any floating dtype.
        gallery_labels: ``(M,)`` integers, at least two classes.
        query: ``(N, D)``.
        query_labels: ``(N,)`` integers.
        k: How many neighbours vote, 1 to M.
        metric: ``"cosine"`` or ``"euclidean"``.

    Raises:
        TypeError: If embeddings are not floating-point tensors or labels are not integers.
        ValueError: If shapes do not match, a row is not finite, the gallery has one class, or ``k`` is out of range.

    Example:
        >>> gallery, labels = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])
        >>> knn_accuracy(gallery, labels, torch.tensor([[1.0, 0.2], [0.1, 1.0]]), torch.tensor([0, 1]), k=1)
        tensor(1., dtype=torch.float64)
    """
    return accuracy_from_labels(*nearest_labels(gallery, gallery_labels, query, query_labels, k, metric))
