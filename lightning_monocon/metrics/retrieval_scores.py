# SPDX-License-Identifier: Apache-2.0
"""Measure nDCG, MRR, MAP and recall of known answers with one search of the gallery."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.recall_at_k import check_ks
from lightning_monocon.functional.relevance import Relevance
from lightning_monocon.metrics.answered import AnsweredMetric, AnsweredOptions, Figure


class RetrievalScores(AnsweredMetric):
    """Compute the figures of an information retrieval benchmark with one search of the gallery.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)``, ``ids`` ``(N,)`` and ``role``.
    As output of ``compute`` it returns ``{"ndcg_at_10", "mrr_at_10", "map_at_100", "recall_at_1", "recall_at_10",
    "recall_at_100"}`` (those of the k asked for), 0-d float32 tensors in [0, 1], means over the queries with a relevant
    row; NaN, with one warning, if there is none. Each is as `lightning_monocon.functional` defines it, and trec_eval.

    Args:
        relevance: The answers, by the ids of queries and gallery rows, as for `NDCG`.
        ndcg_k: How many found rows count for nDCG, or several such numbers.
        mrr_k: Those of the mean reciprocal rank.
        map_k: Those of the mean average precision.
        recall_k: Those of the recall.
        kwargs: Those of `AnsweredOptions` and of `torchmetrics.Metric`.

    Raises:
        TypeError: If ``relevance`` is not a `Relevance`.
        ValueError: If a k is not a positive integer nor holds distinct ones, or ``metric`` is unknown; at ``compute``
            if a relevant row is not in the gallery, or an id has two different rows.

    Example:
        >>> import torch
        >>> metric = RetrievalScores(Relevance(torch.tensor([7]), torch.tensor([3]), torch.tensor([1])))
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([3, 4]), role="gallery")
        >>> metric.update(torch.tensor([[0.2, 1.0]]), torch.tensor([7]), role="query")
        >>> metric.compute()["map_at_100"]
        tensor(0.5000)
    """

    def __init__(
        self,
        relevance: Relevance,
        ndcg_k: int | Sequence[int] = 10,
        mrr_k: int | Sequence[int] = 10,
        map_k: int | Sequence[int] = 100,
        recall_k: int | Sequence[int] = (1, 10, 100),
        **kwargs: Unpack[AnsweredOptions],
    ) -> None:
        depths: dict[Figure, tuple[int, ...]] = {
            "ndcg": check_ks(ndcg_k),
            "mrr": check_ks(mrr_k),
            "map": check_ks(map_k),
            "recall": check_ks(recall_k),
        }
        super().__init__(relevance, **kwargs)
        self.depths = depths

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"ndcg_at_10", "mrr_at_10"...}``, 0-d float32."""
        return self.scores((figure, k) for figure, ks in self.depths.items() for k in ks)
