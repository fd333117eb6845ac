# SPDX-License-Identifier: Apache-2.0
"""Prove which answers of a search cannot change while the features of the queries move a little."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from lightning_monocon.functional.certified_neighbours import Certified, certified_neighbours
from lightning_monocon.functional.checks import check_embeddings, finite_rows
from lightning_monocon.heads.base import Head

_QUERIES = 16
"""Queries at once: their zonotopes have as many rows as there are features and hidden units."""


@torch.no_grad()
def certify_neighbours(
    head: Head,
    gallery: Tensor,
    gallery_labels: Tensor | None,
    query: Tensor,
    eps: float | Tensor,
    k: int = 5,
    least: float | None = None,
) -> Certified:
    """Return of which queries the nearest neighbour and the k-NN label hold for all features within ``eps``.

    What is proved follows from the range of every output, exact for a `MonotonicMLP`, or from a zonotope, which keeps
    how outputs move together and is exact for a `LinearHead`. The head is computed in float64. Answers are those of a
    search by cosine among the head's outputs; the gallery does not move.

    Args:
        head: The head.
        gallery: Features ``(N, in_features)``.
        gallery_labels: ``(N,)`` integers, or None.
        query: Features ``(Q, in_features)``.
        eps: How far each number may move, at least 0: one for all, or of a shape that broadcasts to ``query``, such as
            half a step of the rounding that features go through.
        k: How many neighbours vote.
        least: Limit that features never fall below, such as 0 behind a ReLU.

    Raises:
        TypeError: If features are not floating-point tensors, or labels not integers.
        ValueError: If features have another width, a number is not finite, ``eps`` is negative, a query is below
            ``least``, or the other arguments of `certified_neighbours` do not fit.

    Example:
        >>> from lightning_monocon.heads import MonotonicMLP
        >>> head = MonotonicMLP(2, init="identity")
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> certify_neighbours(head, features, None, features, eps=0.1, k=1).nearest
        tensor([True, True])
    """
    _check_features(head, gallery=gallery, query=query)
    eps = torch.as_tensor(eps, dtype=torch.float64, device=query.device)
    _check(query, eps, least)
    exact = deepcopy(head).to(query.device, torch.float64)
    centre = query.double()
    lowest = centre - eps if least is None else (centre - eps).clamp(min=least)
    boxes = torch.stack([centre, lowest, centre + eps])
    embedded = exact(gallery.double())
    parts = [
        _certified(exact, embedded, gallery_labels, boxes[:, start : start + _QUERIES], k)
        for start in range(0, max(len(query), 1), _QUERIES)
    ]
    return Certified(*(torch.cat(found) for found in zip(*parts, strict=True)))


def _check_features(head: Head, **given: Tensor) -> None:
    """Raise an error unless these are features that the head takes, before anything of it is computed."""
    for name, rows in given.items():
        if check_embeddings(rows, name).shape[1] != head.in_features:
            raise ValueError(
                f"`{name}` must hold the {head.in_features} features that the head takes; got {rows.shape[1]}: pass "
                "the encoder's output, not the head's."
            )
        finite_rows(rows, "error", name)


def _check(query: Tensor, eps: Tensor, least: float | None) -> None:
    if not bool((eps >= 0).all() and eps.isfinite().all()):
        wrong = eps[~((eps >= 0) & eps.isfinite())]
        raise ValueError(f"`eps` must be finite and at least 0; got {float(wrong[0])}. Choose a smaller change.")
    if eps.ndim > 2 or any(own not in (1, size) for own, size in zip(eps.shape[::-1], query.shape[::-1], strict=False)):
        raise ValueError(f"`eps` must be of a shape that broadcasts to {tuple(query.shape)}; got {tuple(eps.shape)}.")
    if least is not None and not bool((query >= least).all()):
        raise ValueError(f"`query` must not fall below `least`, {least}; its smallest number is {float(query.amin())}.")


def _certified(head: Head, gallery: Tensor, labels: Tensor | None, features: Tensor, k: int) -> Certified:
    """Return what is proved of queries whose features, least and greatest ones are ``(3, Q, in_features)``."""
    query, lowest, highest = features
    # interval arithmetic is exact for monotone heads, and takes free features, which `MonotonicMLP.bounds` does not
    lower, upper = Head.bounds(head, lowest, highest)
    # a forward pass of many rows may round the last digit in another way than one of few
    middle = torch.minimum(torch.maximum(head(query), lower), upper)
    return certified_neighbours(gallery, labels, middle, lower, upper, k, head.zonotope(lowest, highest))
