# SPDX-License-Identifier: Apache-2.0
"""Measure nDCG as a metric; see `lightning_monocon.functional.ndcg`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.recall_at_k import check_ks
from lightning_monocon.functional.relevance import Relevance
from lightning_monocon.metrics.answered import AnsweredMetric, AnsweredOptions


class NDCG(AnsweredMetric):
    """Compute the normalised discounted cumulative gain of what queries find, for one or several k.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)``, ``ids`` ``(N,)`` and ``role``.
    As output of ``compute`` it returns ``{"ndcg_at_10"}`` (one entry for each k), 0-d float32 tensors in [0, 1], the
    mean over the queries with a relevant row; NaN, with one warning, if there is none.

    Args:
        relevance: The answers, by the ids of queries and gallery rows. Those of queries that are not added do not
            count.
        k: How many found rows count, or several such numbers; all rows of a smaller gallery.
        kwargs: Those of `AnsweredOptions` and of `torchmetrics.Metric`.

    Raises:
        TypeError: If ``relevance`` is not a `Relevance`.
        ValueError: If ``k`` is not a positive integer nor holds distinct ones, or ``metric`` is unknown; at ``compute``
            if a relevant row is not in the gallery, or an id has two different rows.

    Example:
        >>> import torch
        >>> metric = NDCG(Relevance(torch.tensor([7]), torch.tensor([3]), torch.tensor([1])))
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([3, 4]), role="gallery")
        >>> metric.update(torch.tensor([[0.2, 1.0]]), torch.tensor([7]), role="query")
        >>> metric.compute()
        {'ndcg_at_10': tensor(0.6309)}
    """

    def __init__(self, relevance: Relevance, k: int | Sequence[int] = 10, **kwargs: Unpack[AnsweredOptions]) -> None:
        ks = check_ks(k)
        super().__init__(relevance, **kwargs)
        self.k = ks

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"ndcg_at_k": value}`` for each k, 0-d float32."""
        return self.scores(("ndcg", k) for k in self.k)
