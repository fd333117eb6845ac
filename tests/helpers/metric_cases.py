# SPDX-License-Identifier: Apache-2.0
"""The metrics that the generic tests run over, and how they are fed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_monocon.functional import Relevance
from lightning_monocon.heads import MonotonicMLP
from lightning_monocon.metrics import (
    MRR,
    NDCG,
    AlphaReQ,
    CertifiedAccuracy,
    CodingRate,
    CorrectedEffectiveDimension,
    DiffusionSpectralEntropy,
    EffectiveDimension,
    FeatureCorrelation,
    KNNAccuracy,
    LocalIntrinsicDimension,
    MeanCosine,
    NeighbourOverlap,
    NeighbourScores,
    NeuralCollapse,
    ParticipationRatio,
    RateDistortion,
    RecallAtK,
    ReconstructionError,
    RelevantRecall,
    RetrievalScores,
    SpectralEffectiveRank,
    StableRank,
    TotalVariance,
    TruncationCurve,
    TwoNN,
    Uniformity,
)

SPECTRAL: list[Callable[..., Metric]] = [EffectiveDimension, FeatureCorrelation, TotalVariance, MeanCosine]
RECONSTRUCTION = partial(
    ReconstructionError, 0.6, small_sample="ignore"
)  # so that something is left out of six dimensions
SEARCHES: list[Callable[..., Metric]] = [
    KNNAccuracy,
    RecallAtK,
    NeighbourScores,
    partial(NeighbourScores, max_gallery=20),
    partial(TruncationCurve, (2, 6)),
]
# ids count on from batch to batch; query 30 has no relevant row, and 99 is not asked
ANSWERS = Relevance(
    torch.tensor([0, 0, 3, 3, 3, 17, 30, 46, 99]),
    torch.tensor([5, 38, 7, 8, 9, 20, 2, 12, 4]),
    torch.tensor([1, 2, 1, 3, 1, 2, 0, 1, 1]),
)
ANSWERED: list[Callable[..., Metric]] = [
    partial(kind, ANSWERS) for kind in (NDCG, MRR, RelevantRecall, RetrievalScores)
]
OTHERS: list[Callable[..., Metric]] = [
    SpectralEffectiveRank,
    ParticipationRatio,
    StableRank,
    AlphaReQ,
    RateDistortion,
    CodingRate,
    partial(CorrectedEffectiveDimension, 0.5),
    partial(NeuralCollapse, 3),
    TwoNN,
    partial(LocalIntrinsicDimension, 5, max_rows=30),
    Uniformity,
    partial(DiffusionSpectralEntropy, 1.0),
]
EVERY: list[Callable[..., Metric]] = [
    *SPECTRAL,
    RECONSTRUCTION,
    *SEARCHES,
    *ANSWERED,
    partial(NeighbourOverlap, 4),
    partial(CertifiedAccuracy, MonotonicMLP(6, init="identity"), 0.1, 3),
    *OTHERS,
]

KNOWN_AT_ONCE = {"dimension", "gallery_kept", "gallery_seen"}


def example_batches() -> list[dict[str, Any]]:
    """Gallery and query batches of uneven size, three classes in six dimensions, and a reference of three."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 6, generator=generator)
    found: list[dict[str, Any]] = []
    for role, sizes in (("gallery", (40, 25, 1)), ("query", (17, 30))):
        start = 0
        for size in sizes:
            labels = torch.randint(3, (size,), generator=generator)
            rows = centres[labels] + torch.randn(size, 6, generator=generator)
            ids, start = torch.arange(start, start + size), start + size
            extra = {"ids": ids, "reference": rows[:, :3].clone(), "features": rows}
            found.append({"embeddings": rows, "labels": labels, "role": role, **extra})
    return found


def fed(metric: Metric, batches: list[dict[str, Any]]) -> Metric:
    for batch in batches:
        metric.update(**metric._filter_kwargs(**batch))
    return metric


def flat(value: Any) -> dict[str, Tensor]:
    return value if isinstance(value, dict) else {"value": value}


def assert_same(first: Any, second: Any) -> None:
    torch.testing.assert_close(flat(first), flat(second), rtol=1e-6, atol=0.0)


def fresh(metric: Metric) -> Metric:
    twin = copy.deepcopy(metric)
    twin.reset()
    return twin


def named(metric: Metric) -> dict[str, Tensor]:
    value = metric.compute()
    return value if isinstance(value, dict) else {type(metric).__name__: value}


def total_variance_of(rows: Tensor) -> Tensor:
    metric = TotalVariance()
    metric.update(rows)
    return metric.compute()
