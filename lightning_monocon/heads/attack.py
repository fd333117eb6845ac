# SPDX-License-Identifier: Apache-2.0
"""Try to change the answers of a search by small changes of the features: the other side of a proof."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_monocon.functional.knn_accuracy import majority_vote
from lightning_monocon.functional.neighbours import neighbours
from lightning_monocon.heads.base import Head

_STEPS = 20
_FAR = 2.0
"""Taken from a cosine, it puts a row behind all others."""


def attack_labels(
    head: Head,
    gallery: Tensor,
    gallery_labels: Tensor,
    query: Tensor,
    query_labels: Tensor,
    eps: float,
    k: int = 5,
    least: float | None = None,
) -> Tensor:
    """Return which queries have the right k-NN label after an attack by projected gradients, ``(Q,)`` bool.

    Each of 20 steps moves features by their gradient's signs towards the nearest rows of other classes, and back into
    the box of half-width ``eps`` about the query (Madry et al., 2018). An attack that fails proves nothing.

    Args:
        head: The head.
        gallery: Features ``(N, in_features)``; they do not move.
        gallery_labels: ``(N,)`` integers.
        query: Features ``(Q, in_features)``.
        query_labels: ``(Q,)`` integers.
        eps: How far each feature may move, at least 0.
        k: How many neighbours vote, and how many rows of either kind the attack looks at.
        least: Limit that features never fall below, such as 0 behind a ReLU.

    Raises:
        ValueError: If ``eps`` is negative.

    Example:
        >>> from lightning_monocon.heads import MonotonicMLP
        >>> head = MonotonicMLP(2, init="identity")
        >>> rows, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
        >>> attack_labels(head, rows, labels, torch.tensor([[0.6, 0.5], [1.0, 0.0]]), torch.tensor([0, 0]), 0.2, k=1)
        tensor([False,  True])
    """
    if not eps >= 0:
        raise ValueError(f"`eps` must be at least 0; got {eps}.")
    with torch.no_grad():
        unit = normalize(head(gallery))
    own = gallery_labels[None] == query_labels[:, None]
    count = min(k, int(own.sum(1).clamp_min(1).amin()), int((~own).sum(1).clamp_min(1).amin()))
    moved = query.clone()
    for step in range(_STEPS):
        # the first step goes to a corner; the others may cross the box twice
        size = 2.5 * eps / _STEPS if step else eps
        moved = (moved + size * _slope(head, moved, unit, own, count)).clamp(query - eps, query + eps)
        moved = moved if least is None else moved.clamp(min=least)
    with torch.no_grad():
        return majority_vote(gallery_labels[neighbours(unit, head(moved), k).indices]) == query_labels


def _slope(head: Head, query: Tensor, unit: Tensor, own: Tensor, count: int) -> Tensor:
    """Return the signs by which features come nearer to the ``count`` nearest rows that are not their own."""
    query = query.detach().requires_grad_(True)
    near = normalize(head(query)) @ unit.T
    lead = (near - _FAR * own).topk(count).values.mean(1) - (near - _FAR * ~own).topk(count).values.mean(1)
    (slope,) = torch.autograd.grad(lead.sum(), query)
    return slope.sign()
