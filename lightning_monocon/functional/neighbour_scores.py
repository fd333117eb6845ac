# SPDX-License-Identifier: Apache-2.0
"""Compute k-NN accuracy and Recall@k with one search."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lightning_monocon.functional.knn_accuracy import accuracy_from_labels, nearest_labels
from lightning_monocon.functional.neighbours import DistanceName
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

    ``recall_k`` is the ``k`` of `recall_at_k`; the other arguments and the errors are those of `knn_accuracy`.

    Returns:
        ``{"knn_accuracy", "recall@1", "recall@5"}`` (one recall for each k), 0-d float64 tensors in [0, 1].

    Example:
        >>> import torch
        >>> gallery, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
        >>> query = torch.tensor([[1.0, 0.2]])
        >>> neighbour_scores(gallery, labels, query, torch.tensor([0]), k=1, recall_k=(1,))["recall@1"]
        tensor(1., dtype=torch.float64)
    """
    recalls = check_ks(recall_k)
    (votes,) = check_ks((k,))
    found = nearest_labels(gallery, gallery_labels, query, query_labels, max(votes, *recalls), metric)
    return scores_from_labels(*found, votes, recalls)
