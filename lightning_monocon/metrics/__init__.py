# SPDX-License-Identifier: Apache-2.0
"""TorchMetrics classes over `lightning_monocon.functional`."""

from lightning_monocon.metrics.effective_dimension import EffectiveDimension
from lightning_monocon.metrics.feature_correlation import FeatureCorrelation
from lightning_monocon.metrics.knn_accuracy import KNNAccuracy
from lightning_monocon.metrics.mean_cosine import MeanCosine
from lightning_monocon.metrics.neighbour_scores import NeighbourScores
from lightning_monocon.metrics.recall_at_k import RecallAtK
from lightning_monocon.metrics.reconstruction_error import ReconstructionError
from lightning_monocon.metrics.spectral import SmallSampleWarning
from lightning_monocon.metrics.total_variance import TotalVariance

__all__ = [
    "EffectiveDimension",
    "FeatureCorrelation",
    "KNNAccuracy",
    "MeanCosine",
    "NeighbourScores",
    "RecallAtK",
    "ReconstructionError",
    "SmallSampleWarning",
    "TotalVariance",
]
