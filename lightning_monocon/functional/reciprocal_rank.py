# SPDX-License-Identifier: Apache-2.0
"""Measure how early a ranking has its first relevant row."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.relevance import Relevance, check_depth, grades_of, relevant_rows


def reciprocal_rank_per_query(grades: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Return RR@k ``(Q,)`` float64 from the grades ``(Q, K)`` of found rows and how many are relevant ``(Q,)``."""
    hit = grades[:, :k] > 0
    first = hit.to(torch.int8).argmax(dim=1).to(torch.float64) + 1.0
    value = torch.where(hit.any(dim=1), 1.0 / first, 0.0)
    return torch.where(relevant > 0, value, torch.nan)


def reciprocal_rank(found: Tensor, relevance: Relevance, k: int = 10) -> Tensor:
    """Return 1 / rank of the first relevant row among the k nearest, for each query; 0 if there is none.

    Its mean over queries is MRR@k; trec_eval's ``recip_rank`` of a list that is cut after k.

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
        >>> relevance = Relevance(torch.tensor([0]), torch.tensor([2]), torch.tensor([1]))
        >>> reciprocal_rank(torch.tensor([[4, 2, 0]]), relevance)
        tensor([0.5000], dtype=torch.float64)
    """
    check_depth(k)
    grades = grades_of(found, relevance)
    return reciprocal_rank_per_query(grades, relevant_rows(relevance, len(found)).to(found.device), k)
