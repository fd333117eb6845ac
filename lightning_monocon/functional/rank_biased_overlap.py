# SPDX-License-Identifier: Apache-2.0
"""Measure how alike two rankings are, the first rows counting most."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.neighbour_overlap import check_rankings, places_in
from lightning_monocon.functional.relevance import check_depth


def check_persistence(p: float) -> None:
    """Raise ValueError unless ``0 < p < 1``."""
    if not 0.0 < p < 1.0:
        raise ValueError(f"`p` must lie between 0 and 1, the probability to look at the next row; got {p!r}.")


def rank_biased_overlap(found: Tensor, reference: Tensor, k: int = 10, p: float = 0.9) -> Tensor:
    r"""Return the extrapolated rank-biased overlap of the first k rows of two rankings, for each query.

    .. math::
        \mathrm{RBO}_\mathrm{EXT} = \frac{X_k}{k}\,p^k + \frac{1 - p}{p} \sum_{d=1}^{k} \frac{X_d}{d}\,p^d

    with :math:`X_d` rows that both have among their first d (Webber, Moffat and Zobel, 2010, eq. 30 for lists of equal
    length): the agreement at depth k is taken to go on beyond it, so that equal lists give 1 and lists without a common
    row 0, whatever k. The paper's ``RBO_MIN``, which takes all rows beyond k to differ, is lower.

    Args:
        found: ``(Q, K)`` gallery rows of each query, nearest first, with ``K`` at least ``k``.
        reference: ``(Q, L)`` rows that the reference finds, nearest first, with ``L`` at least ``k``.
        k: How many rows of each list count.
        p: How far down a reader goes on: with the probability p from each row to the next. At 0.9 the first 10 rows
            have 86 % of the weight.

    Returns:
        ``(Q,)`` float64 in [0, 1].

    Raises:
        TypeError: If a list is not a tensor of integers.
        ValueError: If the lists are not ``(Q, K)`` of as many queries, name a row twice for a query, are too short,
            ``k`` is not a positive integer, or ``p`` does not lie between 0 and 1.

    Example:
        >>> rank_biased_overlap(torch.tensor([[3, 1]]), torch.tensor([[1, 3]]), k=2, p=0.5)
        tensor([0.5000], dtype=torch.float64)
    """
    check_persistence(p)
    mine, theirs = check_rankings(found, reference, check_depth(k), k)

    # a row is in both lists from the deeper of its two places on
    rank = torch.arange(k, device=mine.device)
    deeper = torch.maximum(places_in(mine, theirs), rank)
    joined = torch.zeros(len(mine), k + 1, dtype=torch.float64, device=mine.device)
    joined.scatter_add_(1, deeper, torch.ones_like(joined[:, :k]))
    agreement = joined[:, :k].cumsum(dim=1) / (rank + 1)

    weights = (1.0 - p) * p ** rank.to(torch.float64)
    return (agreement * weights).sum(dim=1) + agreement[:, -1] * p**k
