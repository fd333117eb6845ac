# SPDX-License-Identifier: Apache-2.0
"""Measure whether a gallery row with the query's label is among the k nearest.

Its name is ``recall@1`` where a name is text: in the results of metrics and in loggers. It is ``recall_at_1`` where a
name is an identifier: attributes, and the keys of the scorecard's JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.knn_accuracy import nearest_labels
from lightning_monocon.functional.neighbours import DistanceName


def check_ks(k: int | Sequence[int]) -> tuple[int, ...]:
    """Return ``k``, one positive integer or several distinct ones, as a tuple; ValueError if it is neither."""
    ks = tuple(k) if isinstance(k, Iterable) else (k,)
    if not ks or len(set(ks)) != len(ks) or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in ks):
        raise ValueError(f"`k` must be a positive integer or hold distinct ones, such as (1, 5); got {k!r}.")
    return ks


def recall_from_labels(nearest: Tensor, query_labels: Tensor, k: Sequence[int]) -> dict[int, Tensor]:
    """Return Recall@k for each k from neighbour labels ``(N, K)``, nearest first; NaN, with one warning, if none."""
    if not len(query_labels):
        warn_degenerate("Recall needs at least 1 query row, got 0")
        return {n: torch.tensor(torch.nan, dtype=torch.float64, device=nearest.device) for n in k}
    hit = nearest == query_labels[:, None]
    return {n: hit[:, :n].any(dim=1).to(torch.float64).mean() for n in k}


def recall_at_k(
    gallery: Tensor,
    gallery_labels: Tensor,
    query: Tensor,
    query_labels: Tensor,
    k: int | Sequence[int] = (1, 5),
    metric: DistanceName = "cosine",
) -> dict[int, Tensor]:
    """Return Recall@k for every k from one search: the share of queries with a same-label row among the k nearest.

    ``k`` is a number of neighbours, 1 to M, or several distinct ones; the other arguments and the errors are those of
    `knn_accuracy`.

    Returns:
        For each k a 0-d float64 tensor in [0, 1].

    Example:
        >>> gallery, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
        >>> recall_at_k(gallery, labels, torch.tensor([[1.0, 0.2]]), torch.tensor([1]), k=(1, 2))
        {1: tensor(0., dtype=torch.float64), 2: tensor(1., dtype=torch.float64)}
    """
    ks = check_ks(k)
    found = nearest_labels(gallery, gallery_labels, query, query_labels, max(ks), metric)
    return recall_from_labels(*found, ks)
