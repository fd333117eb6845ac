# SPDX-License-Identifier: Apache-2.0
"""Compute k-NN accuracy and Recall@k with one search."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lightning_monocon.functional.checks import check_labels
from lightning_monocon.functional.knn_accuracy import accuracy_from_labels, check_classes
from lightning_monocon.functional.neighbours import DistanceName, neighbours
from lightning_monocon.functional.recall_at_k import check_ks, recall_from_labels


def scores_from_labels(nearest: Tensor, query_labels: Tensor, k: int, recall_k: Sequence[int]) -> dict[str, Tensor]:
    """Return ``{"knn_accuracy", "recall@k"...}`` from neighbour labels ``(N, K)``, nearest first."""
    recalls = recall_from_labels(nearest, query_labels, recall_k)
    scores = {"knn_accuracy": accuracy_from_labels(nearest[:, :k], query_labels)}
    return scores | {f"recall@{n}": value for n, value in recalls.items()}


def neighbour_scores(
    gallery: Tensor,
    gallery_labels: Tensor,
    query: Tensor,
    query_labels: Tensor,
    k: int = 5,
    recall_k: int | Sequence[int] = (1, 5),
    metric: DistanceName = "cosine",
) -> dict[str, Tensor]:
    """Return k-NN accuracy and Recall@k for every k of ``recall_k``, all from one search of the gallery.

    Args:
        gallery: ``(M, D)``, any floating dtype.
        gallery_labels: ``(M,)`` integers, at least two classes.
        query: ``(N, D)``.
        query_labels: ``(N,)`` integers.
        k: How many neighbours vote, 1 to M.
        recall_k: A number of neighbours, 1 to M, or several distinct ones.
        metric: ``"cosine"`` or ``"euclidean"``.

    Returns:
        ``{"knn_accuracy", "recall@1", "recall@5"}`` (one recall for each k), 0-d float64 tensors in [0, 1].

    Raises:
        TypeError: If embeddings are not floating-point tensors or labels are not integers.
        ValueError: If shapes do not match, a row is not finite, the gallery has one class, or a k is out of range.

    Example:
        >>> import torch
        >>> gallery, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
        >>> query = torch.tensor([[1.0, 0.2]])
        >>> neighbour_scores(gallery, labels, query, torch.tensor([0]), k=1, recall_k=(1,))["recall@1"]
        tensor(1., dtype=torch.float64)
    """
    recalls = check_ks(recall_k)
    (votes,) = check_ks((k,))
    known = check_labels(gallery_labels, len(gallery), "gallery_labels")
    truth = check_labels(query_labels, len(query), "query_labels")
    check_classes(known)
    found = neighbours(gallery, query, max(votes, *recalls), metric).indices
    return scores_from_labels(known.to(found.device)[found], truth.to(found.device), votes, recalls)
