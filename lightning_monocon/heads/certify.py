# SPDX-License-Identifier: Apache-2.0
"""Prove which answers of a search cannot change while the features of the queries move a little."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        TypeError: If ``head`` is not one of the package's heads or computes something of its own, features are not
            floating-point tensors, labels not integers, or ``eps`` or ``least`` not numbers.
        ValueError: If features have another width, a number is not finite, ``eps`` is negative or so large that
            outputs overflow, a query is below ``least``, or the other arguments of `certified_neighbours` do not fit.

    Example:
        >>> from lightning_monocon.heads import MonotonicMLP
        >>> head = MonotonicMLP(2, init="identity")
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> certify_neighbours(head, features, None, features, eps=0.1, k=1).nearest
        tensor([True, True])
    """
    _check_features(head, gallery=gallery, query=query)
    eps = check_eps(eps, query.shape).to(query.device)
    _check_above(query, least)
    exact = deepcopy(head).to(query.device, torch.float64)
    low, high = query.double() - eps, query.double() + eps
    boxes = torch.stack([query.double(), low if least is None else low.clamp(min=least), high])
    embedded = exact(gallery.double())
    parts = [
        _certified(exact, embedded, gallery_labels, boxes[:, start : start + _QUERIES], k)
        for start in range(0, max(len(query), 1), _QUERIES)
    ]
    return Certified(*(torch.cat(found) for found in zip(*parts, strict=True)))


def check_head(head: object) -> None:
    """Raise TypeError unless all that ``head`` computes is its layers, which the regions are made of."""
    if not isinstance(head, Head) or type(head).forward is not Head.forward:
        own = " with a `forward` of its own" if isinstance(head, Head) else ""
        raise TypeError(
            f"`head` must be a MonotonicMLP, MLPHead or LinearHead, whose layers are known; got {type(head).__name__}"
            f"{own}. Give the head alone."
        )


def check_eps(eps: float | Tensor, shape: Sequence[int]) -> Tensor:
    """Return ``eps`` as float64, once it is known to be changes of features of a shape.

    Raises:
        TypeError: If it is not numbers.
        ValueError: If one is negative or not finite, or they do not broadcast to ``shape``.
    """
    try:
        found = torch.as_tensor(eps, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"`eps` must be a number, or a tensor of numbers; got {eps!r}. Try 0.01.") from error
    if not bool((allowed := (found >= 0) & found.isfinite()).all()):
        raise ValueError(
            f"`eps` must be finite and at least 0; got {float(found[~allowed][0])}. Give how far a feature may move."
        )
    pairs = zip(found.shape[::-1], shape[::-1], strict=False)
    if found.ndim > len(shape) or any(own not in (1, size) for own, size in pairs):
        raise ValueError(
            f"`eps` must be of a shape that broadcasts to {tuple(shape)}; got {tuple(found.shape)}. Give one number, "
            "or one for each feature."
        )
    return found


def check_least(least: float | None) -> None:
    """Raise TypeError unless it is a number or None, and ValueError unless it is finite."""
    rule = f"`least` must be a finite number, or None; got {least!r}. Behind a ReLU it is 0."
    try:
        finite = least is None or math.isfinite(least)
    except TypeError as error:
        raise TypeError(rule) from error
    if not finite:
        raise ValueError(rule)


def _check_features(head: Head, **given: Tensor) -> None:
    """Raise an error unless it is a head, and these are features it takes, before anything of it is computed."""
    check_head(head)
    for name, rows in given.items():
        if check_embeddings(rows, name).shape[1] != head.in_features:
            raise ValueError(
                f"`{name}` must hold the {head.in_features} features that the head takes; got {rows.shape[1]}: pass "
                "the encoder's output, not the head's."
            )
        finite_rows(rows, "error", name)


def _check_above(query: Tensor, least: float | None) -> None:
    check_least(least)
    if least is not None and not bool((query >= least).all()):
        raise ValueError(f"`query` must not fall below `least`, {least}; its smallest number is {float(query.amin())}.")


def _certified(head: Head, gallery: Tensor, labels: Tensor | None, features: Tensor, k: int) -> Certified:
    """Return what is proved of queries whose features, least and greatest ones are ``(3, Q, in_features)``."""
    query, lowest, highest = features
    # interval arithmetic is exact for monotone heads, and takes free features, which `MonotonicMLP.bounds` does not
    lower, upper = Head.bounds(head, lowest, highest)
    if not bool(lower.isfinite().all() and upper.isfinite().all()):
        raise ValueError(
            "`eps` must leave the head's outputs finite; over this change of the features, or by a weight that is not "
            "finite, they overflow. Choose a smaller one, or look for NaN in the head."
        )
    # a forward pass of many rows may round the last digit in another way than one of few
    middle = torch.minimum(torch.maximum(head(query), lower), upper)
    return certified_neighbours(gallery, labels, middle, lower, upper, k, head.zonotope(lowest, highest))
