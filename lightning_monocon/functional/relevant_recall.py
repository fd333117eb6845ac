# SPDX-License-Identifier: Apache-2.0
"""Measure which share of the relevant rows a ranking has among its first k."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.relevance import Relevance, check_depth, grades_of, relevant_rows


def relevant_recall_per_query(grades: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Return recall@k ``(Q,)`` float64 from the grades ``(Q, K)`` of found rows and how many are relevant ``(Q,)``."""
    hits = (grades[:, :k] > 0).sum(dim=1).to(torch.float64)
    return torch.where(relevant > 0, hits / relevant, torch.nan)


def relevant_recall(found: Tensor, relevance: Relevance, k: int = 10) -> Tensor:
    """Return the share of a query's relevant rows that are among the k nearest, for each query.

    As trec_eval's ``recall``. `recall_at_k` is another figure: whether *any* row with the query's label is among them.

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
        >>> relevant_recall(torch.tensor([[4, 0, 1, 2]]), relevance, k=3)
        tensor([0.5000], dtype=torch.float64)
    """
    check_depth(k)
    grades = grades_of(found, relevance)
    return relevant_recall_per_query(grades, relevant_rows(relevance, len(found)).to(found.device), k)
