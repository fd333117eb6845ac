# SPDX-License-Identifier: Apache-2.0
"""Measure how far relevant rows come before the others in a ranking."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.relevance import Relevance, check_depth, grades_of, relevant_rows


def average_precision_per_query(grades: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Return AP@k ``(Q,)`` float64 from the grades ``(Q, K)`` of found rows and how many are relevant ``(Q,)``."""
    hit = (grades[:, :k] > 0).to(torch.float64)
    rank = torch.arange(hit.shape[1], dtype=torch.float64, device=hit.device) + 1.0
    precision = hit.cumsum(dim=1) / rank
    return torch.where(relevant > 0, (hit * precision).sum(dim=1) / relevant, torch.nan)


def average_precision(found: Tensor, relevance: Relevance, k: int = 100) -> Tensor:
    r"""Return the average precision of the k nearest rows, for each query.

    .. math::
        \mathrm{AP@}k = \frac{1}{R} \sum_{i=1}^{k} [\text{row } i \text{ is relevant}]\,\mathrm{precision@}i

    with :math:`R` relevant rows in the whole gallery, as trec_eval's ``map_cut``: a query with more than k relevant
    rows cannot reach 1. Its mean over queries is MAP@k.

    Args:
        found: ``(Q, K)`` gallery rows of each query, nearest first; a list shorter than ``k`` ends there.
        relevance: The answers; rows with a grade above 0 are relevant.
        k: How many found rows count.

    Returns:
        ``(Q,)`` float64 in [0, 1]; NaN for a query without a relevant row.

    Raises:
        TypeError: If ``found`` is not a tensor of integers.
        ValueError: If ``found`` is not ``(Q, K)`` or names a row twice for a query, ``relevance`` names more queries,
            or ``k`` is not a positive integer.

    Example:
        >>> relevance = Relevance(torch.tensor([0, 0]), torch.tensor([2, 4]), torch.tensor([1, 1]))
        >>> average_precision(torch.tensor([[4, 0, 1, 2]]), relevance)
        tensor([0.7500], dtype=torch.float64)
    """
    check_depth(k)
    grades = grades_of(found, relevance)
    return average_precision_per_query(grades, relevant_rows(relevance, len(found)).to(found.device), k)
