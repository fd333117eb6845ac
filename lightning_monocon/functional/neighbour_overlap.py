# SPDX-License-Identifier: Apache-2.0
"""Measure how much of a reference's search result stays: a change, which need be neither gain nor loss of quality."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.relevance import check_depth, check_found


def check_rankings(found: Tensor, reference: Tensor, k: int, depth: int) -> tuple[Tensor, Tensor]:
    """Return both lists, cut to the first ``depth`` found and ``k`` reference rows.

    Raises:
        TypeError: If they are not tensors of integers.
        ValueError: If they are not ``(Q, K)`` of as many queries, name a row twice, or are shorter.
    """
    mine, theirs = check_found(found), check_found(reference, "reference")
    if len(mine) != len(theirs):
        raise ValueError(
            f"`found` and `reference` must be of the same queries; got {len(mine)} and {len(theirs)} lists."
        )
    for name, rows, least in (("found", mine, depth), ("reference", theirs, k)):
        if rows.shape[1] < least:
            raise ValueError(
                f"`{name}` must hold at least {least} rows for each query; got {rows.shape[1]}. Search deeper, or "
                "lower `k` or `depth`."
            )
    return mine[:, :depth], theirs[:, :k].to(mine.device)


def places_in(rows: Tensor, lists: Tensor) -> Tensor:
    """Return where each row ``(Q, K)`` stands in the list ``(Q, L)`` of its query, from 0; ``L`` if it is not there."""
    ascending, order = lists.sort(dim=1)
    at = torch.searchsorted(ascending, rows.contiguous()).clamp_(max=lists.shape[1] - 1)
    return torch.where(ascending.gather(1, at) == rows, order.gather(1, at), lists.shape[1])


def reference_recall(found: Tensor, reference: Tensor, k: int = 10, depth: int = 100) -> Tensor:
    """Return the share of the reference's k nearest rows that are among the first ``depth`` found, for each query.

    What a second stage could still give back that ranks ``depth`` candidates again with the reference; with ``depth``
    equal to ``k`` it is `neighbour_overlap`.

    Args:
        found: ``(Q, K)`` gallery rows of each query, nearest first, with ``K`` at least ``depth``.
        reference: ``(Q, L)`` rows that the reference finds, nearest first, with ``L`` at least ``k``.
        k: How many rows of the reference are looked for.
        depth: How many found rows count.

    Returns:
        ``(Q,)`` float64 in [0, 1].

    Raises:
        TypeError: If a list is not a tensor of integers.
        ValueError: If the lists are not ``(Q, K)`` of as many queries, name a row twice for a query, are too short, or
            ``k`` or ``depth`` is not a positive integer.

    Example:
        >>> reference_recall(torch.tensor([[3, 1, 0]]), torch.tensor([[0, 2, 1]]), k=2, depth=3)
        tensor([0.5000], dtype=torch.float64)
    """
    mine, theirs = check_rankings(found, reference, check_depth(k), check_depth(depth, "depth"))
    return (places_in(mine, theirs) < k).sum(dim=1).to(torch.float64) / k


def neighbour_overlap(found: Tensor, reference: Tensor, k: int = 10) -> Tensor:
    """Return the share of the k nearest rows that the reference has among its k nearest, for each query.

    The order within the k does not count; `rank_biased_overlap` counts it. With ``k=1`` it is 1 where the first answer
    stays. Both sets have k rows, so it is also recall@k of the reference's top k.

    Args:
        found: ``(Q, K)`` gallery rows of each query, nearest first, with ``K`` at least ``k``.
        reference: ``(Q, L)`` rows that the reference finds, nearest first, with ``L`` at least ``k``.
        k: How many rows of each list count.

    Returns:
        ``(Q,)`` float64 in [0, 1].

    Raises:
        TypeError: If a list is not a tensor of integers.
        ValueError: If the lists are not ``(Q, K)`` of as many queries, name a row twice for a query, are too short, or
            ``k`` is not a positive integer.

    Example:
        >>> neighbour_overlap(torch.tensor([[3, 1, 0]]), torch.tensor([[0, 2, 1]]), k=3)
        tensor([0.6667], dtype=torch.float64)
    """
    return reference_recall(found, reference, k, k)
