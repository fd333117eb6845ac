# SPDX-License-Identifier: Apache-2.0
r"""Prove that the nearest neighbours of a query cannot change while its embedding stays in a box.

Cosines of one query are ranked as inner products with unit gallery rows, since its length divides all of them. So row i
is ahead of row j for every embedding y of the box :math:`|y - c| \le r` (elementwise) if and only if

.. math:: \min_y\, (g_i - g_j)^\top y = (g_i - g_j)^\top c - |g_i - g_j|^\top r > 0 .

No bound on the cosines themselves is needed, and none that bounds them one by one is as tight.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, check_labels, finite_rows
from lightning_monocon.functional.knn_accuracy import check_classes, majority_vote
from lightning_monocon.functional.neighbours import check_k
from lightning_monocon.functional.unit_rows import unit_rows

MOST_CANDIDATES = 1024
"""Rows that may be among the nearest of one query, above which nothing is proved of its label: pairs are compared."""

_ROUNDING = 1e-12
"""Share of a query's length that float64 sums may be off by."""


class Certified(NamedTuple):
    """Hold what is proved of each query.

    Attributes:
        nearest: ``(Q,)`` bool; its nearest gallery row is the same in the whole box.
        label: ``(Q,)`` bool; the vote of its k nearest rows is the same in the whole box. All False without labels.
    """

    nearest: Tensor
    label: Tensor


def certified_neighbours(
    gallery: Tensor, gallery_labels: Tensor | None, query: Tensor, lower: Tensor, upper: Tensor, k: int = 5
) -> Certified:
    """Return of which queries nearest neighbour and k-NN label, by cosine, hold in a box about their embedding.

    What is not proved may hold nevertheless. Sums are in float64; equal rows are never told apart.

    Args:
        gallery: Embeddings ``(N, D)`` that do not change.
        gallery_labels: ``(N,)`` integers of at least two classes, or None.
        query: Embeddings ``(Q, D)``.
        lower: Least embedding ``(Q, D)`` of each query, not normalised, as `MonotonicMLP.bounds` gives it.
        upper: Greatest embedding ``(Q, D)``.
        k: How many neighbours vote, 1 to N.

    Raises:
        TypeError: If embeddings are not floating-point tensors or labels are not integers.
        ValueError: If shapes do not match, a row is not finite, a query lies outside its box, the gallery has one
            class, or ``k`` is out of range.

    Example:
        >>> gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> query = torch.tensor([[1.0, 0.0], [0.6, 0.5]])
        >>> certified_neighbours(gallery, None, query, query - 0.1, query + 0.1, k=1).nearest
        tensor([ True, False])
    """
    check_embeddings(gallery, "gallery")
    check_k(k, len(gallery))
    width = gallery.shape[1]
    for name, rows in (("gallery", gallery), ("query", query), ("lower", lower), ("upper", upper)):
        finite_rows(check_embeddings(rows, name, width=width), "error", name)
    if not lower.shape == query.shape == upper.shape or bool(((query < lower) | (query > upper)).any()):
        raise ValueError(
            f"`lower` and `upper` must enclose every query; got shapes {tuple(lower.shape)}, {tuple(upper.shape)} for "
            f"{tuple(query.shape)}, or a query outside: take the bounds of the embeddings themselves."
        )
    if gallery_labels is not None:
        gallery_labels = check_labels(gallery_labels, len(gallery), "gallery_labels")
        check_classes(gallery_labels)
    rows = unit_rows(gallery.double())
    nearest, label = torch.zeros(2, len(query), dtype=torch.bool, device=rows.device)
    for place, (own, low, high) in enumerate(zip(query.double(), lower.double(), upper.double(), strict=True)):
        box = _Box((low + high) / 2, (high - low) / 2)
        order = (rows @ own).argsort(descending=True, stable=True)[:k]
        ahead = box.least_lead(rows[order[:1]], rows)[0]
        ahead[order[0]] = torch.inf
        nearest[place] = ahead.amin() > 0
        if gallery_labels is not None:
            label[place] = _holds(rows, gallery_labels, box, order, k)
    return Certified(nearest, label)


class _Box(NamedTuple):
    """Hold the embeddings that one query may have: their centre and half their extent, ``(D,)`` each."""

    centre: Tensor
    radius: Tensor

    @property
    def rounding(self) -> Tensor:
        """What float64 scores may be off by."""
        found: Tensor = _ROUNDING * (torch.linalg.vector_norm(self.centre) + torch.linalg.vector_norm(self.radius))
        return found

    def least_lead(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return by how much each row is ahead of each other one in the whole box, ``(A, B)``."""
        reach = torch.cdist(rows * self.radius, others * self.radius, p=1)
        lead: Tensor = (rows @ self.centre)[:, None] - others @ self.centre - reach - self.rounding
        return lead


def _holds(rows: Tensor, labels: Tensor, box: _Box, order: Tensor, k: int) -> bool:
    """Return whether the k nearest rows, which are ``order`` at the query itself, always vote alike.

    A row is certainly among the k nearest if fewer than k others can be ahead of it, and possibly if fewer than k
    always are. In the worst case all places that are not certain go to one other label.
    """
    middle, reach = rows @ box.centre, rows.abs() @ box.radius
    least = (middle - reach).topk(k).values[-1] - box.rounding
    candidates = torch.nonzero(middle + reach >= least).flatten()
    if len(candidates) > MOST_CANDIDATES:
        return False
    ahead = box.least_lead(rows[candidates], rows[candidates]) > 0
    certain = (~ahead).sum(1) - 1 < k
    possible = ahead.sum(0) < k
    classes, found = torch.unique(labels[candidates], return_inverse=True)
    sure = torch.bincount(found[certain], minlength=len(classes))
    others = torch.bincount(found[possible & ~certain], minlength=len(classes))
    most = sure + others.clamp(max=k - int(certain.sum()))
    (own,) = torch.nonzero(classes == majority_vote(labels[order][None])).flatten()
    # of equally frequent labels the smallest wins
    wins = (sure[own] > most) | ((sure[own] == most) & (classes[own] < classes))
    wins[own] = True
    return bool(wins.all())
