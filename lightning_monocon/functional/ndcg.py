# SPDX-License-Identifier: Apache-2.0
"""Measure how well a ranking orders graded answers, by normalised discounted cumulative gain."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.relevance import Relevance, check_depth, grades_of, ideal_grades


def ndcg_per_query(grades: Tensor, ideal: Tensor, k: int) -> Tensor:
    """Return nDCG@k ``(Q,)`` float64 from the grades ``(Q, K)`` of found rows and of the best ranking ``(Q, k)``."""
    best = _gain(ideal, k)
    return torch.where(best > 0, _gain(grades, k) / best, torch.nan)


def _gain(grades: Tensor, k: int) -> Tensor:
    counted = grades[:, :k].to(torch.float64)
    rank = torch.arange(counted.shape[1], dtype=torch.float64, device=counted.device)
    return (counted / torch.log2(rank + 2.0)).sum(dim=1)


def ndcg(found: Tensor, relevance: Relevance, k: int = 10) -> Tensor:
    r"""Return the normalised discounted cumulative gain of the k nearest rows, for each query.

    .. math::
        \mathrm{nDCG@}k = \frac{\sum_{i=1}^{k} g_i / \log_2(i + 1)}{\sum_{i=1}^{k} g^*_i / \log_2(i + 1)}

    with the grade :math:`g_i` of the i-th found row and :math:`g^*_i` the i-th highest grade of the query, as
    trec_eval's ``ndcg_cut`` (Järvelin and Kekäläinen, 2002): the gain is the grade itself, not :math:`2^g - 1`.

    Args:
        found: ``(Q, K)`` gallery rows of each query, nearest first; a list shorter than ``k`` ends there.
        relevance: The graded answers.
        k: How many found rows count.

    Returns:
        ``(Q,)`` float64 in [0, 1]; NaN for a query without a relevant row.

    Raises:
        TypeError: If ``found`` is not a tensor of integers.
        ValueError: If ``found`` is not ``(Q, K)`` or names a row twice for a query, ``relevance`` names more queries,
            or ``k`` is not a positive integer.

    Example:
        >>> relevance = Relevance(torch.tensor([0, 0]), torch.tensor([2, 4]), torch.tensor([1, 3]))
        >>> ndcg(torch.tensor([[4, 2, 0]]), relevance)
        tensor([1.], dtype=torch.float64)
    """
    check_depth(k)
    return ndcg_per_query(grades_of(found, relevance), ideal_grades(relevance, len(found), k).to(found.device), k)
