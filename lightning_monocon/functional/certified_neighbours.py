# SPDX-License-Identifier: Apache-2.0
r"""Prove that the nearest neighbours of a query cannot change while its embedding stays in a region.

Cosines of one query are ranked as inner products with unit gallery rows, since its length divides all of them. So row i
is ahead of row j for every embedding y of the box :math:`|y - c| \le r` (elementwise) if and only if

.. math:: \min_y\, (g_i - g_j)^\top y = (g_i - g_j)^\top c - |g_i - g_j|^\top r > 0 .

No bound on the cosines themselves is needed, and none that bounds them one by one is as tight. In a box outputs move
independently of each other. A zonotope :math:`y = c + \sum_m t_m v_m,\ |t_m| \le 1` keeps that they move together:

.. math:: \min_y\, (g_i - g_j)^\top y = (g_i - g_j)^\top c - \sum_m |(g_i - g_j)^\top v_m| .

With :math:`r_m w_m` as generators, ``w_m`` a column of its weight, it is the exact region of a linear map over a box.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, check_labels, finite_rows
from lightning_monocon.functional.knn_accuracy import check_classes, majority_vote
from lightning_monocon.functional.neighbours import check_k
from lightning_monocon.functional.unit_rows import unit_rows

MOST_CANDIDATES = 512
"""Rows that may be among the nearest of one query, above which nothing is proved of its label: pairs are compared."""

_ROUNDING = 1e-12
"""Share of a query's length that float64 sums may be off by."""


class Certified(NamedTuple):
    """Hold what is proved of each query.

    Attributes:
        nearest: ``(Q,)`` bool; its nearest gallery row is the same in the whole region.
        label: ``(Q,)`` bool; the vote of its k nearest rows is the same in the whole region. All False without labels.
        vote: ``(Q,)`` int64; the vote of the k rows nearest to the query itself. All -1 without labels.
    """

    nearest: Tensor
    label: Tensor
    vote: Tensor


class Zonotope(NamedTuple):
    r"""Hold regions :math:`c + \sum_m t_m v_m,\ |t_m| \le 1`, one for each query.

    Attributes:
        centre: ``(Q, D)``, c.
        generators: ``(Q, M, D)``, v.
    """

    centre: Tensor
    generators: Tensor


def certified_neighbours(
    gallery: Tensor,
    gallery_labels: Tensor | None,
    query: Tensor,
    lower: Tensor,
    upper: Tensor,
    k: int = 5,
    zonotope: Zonotope | None = None,
) -> Certified:
    """Return of which queries nearest neighbour and k-NN label, by cosine, hold in a region about their embedding.

    What is not proved may hold nevertheless. Sums are in float64; equal rows are never told apart.

    Args:
        gallery: Embeddings ``(N, D)`` that do not change.
        gallery_labels: ``(N,)`` integers of at least two classes, or None.
        query: Embeddings ``(Q, D)``.
        lower: Least embedding ``(Q, D)`` of each query, not normalised, as `MonotonicMLP.bounds` gives it.
        upper: Greatest embedding ``(Q, D)``.
        k: How many neighbours vote, 1 to N.
        zonotope: A second region of each query's embeddings, as heads' `zonotope` gives it: what is proved in either of
            the two counts.

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
    _check_regions(gallery, query, lower, upper, zonotope)
    check_k(k, len(gallery))
    if gallery_labels is not None:
        check_classes(gallery_labels := check_labels(gallery_labels, len(gallery), "gallery_labels"))
    rows = unit_rows(gallery.double())
    nearest, label = torch.zeros(2, len(query), dtype=torch.bool, device=rows.device)
    vote = torch.full_like(label, -1, dtype=torch.int64)
    for place in range(len(query)):
        regions = _regions(lower[place].double(), upper[place].double(), zonotope, place)
        order = (rows @ query[place].double()).argsort(descending=True, stable=True)[:k]
        nearest[place] = (ahead := _ahead(regions, rows[order], rows))[0].sum() == len(rows) - 1
        if gallery_labels is not None:
            vote[place] = majority_vote(gallery_labels[order][None])
            candidates = torch.nonzero(~ahead.all(0)).flatten()  # a row behind all k is never among the nearest
            label[place] = _holds(rows[candidates], gallery_labels[candidates], regions, int(vote[place]), k)
    return Certified(nearest, label, vote)


def _check_regions(gallery: Tensor, query: Tensor, lower: Tensor, upper: Tensor, zonotope: Zonotope | None) -> None:
    width = check_embeddings(gallery, "gallery").shape[1]
    for name, rows in (("gallery", gallery), ("query", query), ("lower", lower), ("upper", upper)):
        finite_rows(check_embeddings(rows, name, width=width), "error", name)
    if not lower.shape == query.shape == upper.shape or bool(((query < lower) | (query > upper)).any()):
        raise ValueError(
            f"`lower` and `upper` must enclose every query; got shapes {tuple(lower.shape)}, {tuple(upper.shape)} for "
            f"{tuple(query.shape)}, or a query outside: take the bounds of the embeddings themselves."
        )
    if zonotope is None:
        return
    centre, generators = zonotope
    if centre.shape != query.shape or generators.ndim != 3 or generators[:, 0].shape != query.shape:
        raise ValueError(
            f"`zonotope` must hold a centre {tuple(query.shape)} and generators ({len(query)}, M, {width}), one region "
            f"for each query; got {tuple(centre.shape)} and {tuple(generators.shape)}."
        )


class _Box(NamedTuple):
    """Hold the embeddings that one query may have: their centre and half their extent, ``(D,)`` each."""

    centre: Tensor
    radius: Tensor

    def ahead(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return whether each row is proved to be ahead of each other one, ``(A, B)`` bool."""
        rounding = _ROUNDING * (torch.linalg.vector_norm(self.centre) + torch.linalg.vector_norm(self.radius))
        reach = torch.cdist(rows * self.radius, others * self.radius, p=1)
        found: Tensor = (rows @ self.centre)[:, None] - others @ self.centre - rounding > reach
        return found


class _Zone(NamedTuple):
    """Hold the embeddings that one query may have: centre ``(D,)``, generators ``(M, D)``, their QR factor."""

    centre: Tensor
    generators: Tensor
    factor: Tensor

    @classmethod
    def of(cls, centre: Tensor, generators: Tensor) -> _Zone:
        return cls(centre, generators, torch.linalg.qr(generators, mode="r").R)

    def ahead(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return whether each row is proved to be ahead of each other one, ``(A, B)`` bool.

        A sum of M magnitudes is at most sqrt(M) times their Euclidean length, which takes D numbers and not M: only
        rows that this leaves open are compared by the sum.
        """
        rounding = _ROUNDING * (
            torch.linalg.vector_norm(self.centre) + torch.linalg.vector_norm(self.generators, dim=1).sum()
        )
        lead = (rows @ self.centre)[:, None] - others @ self.centre - rounding
        lengths = torch.cdist(rows @ self.factor.T, others @ self.factor.T, compute_mode="donot_use_mm_for_euclid_dist")
        found: Tensor = lead > math.sqrt(len(self.generators)) * (1 + _ROUNDING) * lengths
        still = torch.nonzero(((lead > 0) & ~found).any(0)).flatten()
        reach = torch.cdist(rows @ self.generators.T, others[still] @ self.generators.T, p=1)
        found[:, still] = lead[:, still] > reach
        return found


def _regions(lower: Tensor, upper: Tensor, zonotope: Zonotope | None, place: int) -> list[_Box | _Zone]:
    box = _Box((lower + upper) / 2, (upper - lower) / 2)
    if zonotope is None:
        return [box]
    return [box, _Zone.of(zonotope.centre[place].double(), zonotope.generators[place].double())]


def _ahead(regions: list[_Box | _Zone], rows: Tensor, others: Tensor) -> Tensor:
    return torch.stack([region.ahead(rows, others) for region in regions]).any(0)


def _holds(rows: Tensor, labels: Tensor, regions: list[_Box | _Zone], vote: int, k: int) -> bool:
    """Return whether the k nearest rows always vote alike, of the rows that may be among them.

    A row is certainly among the k nearest if fewer than k others can be ahead of it, and possibly if fewer than k
    always are. In the worst case all places that are not certain go to one other label.
    """
    if bool((labels == vote).all()):
        return True
    if len(rows) > MOST_CANDIDATES:
        return False
    ahead = _ahead(regions, rows, rows)
    certain = (~ahead).sum(1) - 1 < k
    possible = ahead.sum(0) < k
    classes, found = torch.unique(labels, return_inverse=True)
    sure = torch.bincount(found[certain], minlength=len(classes))
    others = torch.bincount(found[possible & ~certain], minlength=len(classes))
    most = sure + others.clamp(max=k - int(certain.sum()))
    (own,) = torch.nonzero(classes == vote).flatten()
    # of equally frequent labels the smallest wins
    wins = (sure[own] > most) | ((sure[own] == most) & (classes[own] < classes))
    wins[own] = True
    return bool(wins.all())
