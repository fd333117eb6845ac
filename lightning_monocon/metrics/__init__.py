# SPDX-License-Identifier: Apache-2.0
"""Compute the figures of `lightning_monocon.functional` over batches and ranks, as TorchMetrics classes."""

from lightning_monocon.metrics.alignment import Alignment
from lightning_monocon.metrics.alpha_req import AlphaReQ
from lightning_monocon.metrics.certified_accuracy import CertifiedAccuracy
from lightning_monocon.metrics.coding_rate import CodingRate
from lightning_monocon.metrics.corrected_effective_dimension import CorrectedEffectiveDimension
from lightning_monocon.metrics.diffusion_spectral_entropy import DiffusionSpectralEntropy
from lightning_monocon.metrics.distinct_rows import DistinctRows
from lightning_monocon.metrics.effective_dimension import EffectiveDimension
from lightning_monocon.metrics.embedding_report import EmbeddingReport
from lightning_monocon.metrics.feature_correlation import FeatureCorrelation
from lightning_monocon.metrics.knn_accuracy import KNNAccuracy
from lightning_monocon.metrics.linear_cka import LinearCKA
from lightning_monocon.metrics.local_intrinsic_dimension import LocalIntrinsicDimension
from lightning_monocon.metrics.mean_cosine import MeanCosine
from lightning_monocon.metrics.ndcg import NDCG
from lightning_monocon.metrics.neighbour_overlap import NeighbourOverlap
from lightning_monocon.metrics.neighbour_scores import NeighbourScores
from lightning_monocon.metrics.neural_collapse import NeuralCollapse
from lightning_monocon.metrics.participation_ratio import ParticipationRatio
from lightning_monocon.metrics.rate_distortion import RateDistortion
from lightning_monocon.metrics.recall_at_k import RecallAtK
from lightning_monocon.metrics.reciprocal_rank import MRR
from lightning_monocon.metrics.reconstruction_error import ReconstructionError
from lightning_monocon.metrics.relevant_recall import RelevantRecall
from lightning_monocon.metrics.retrieval_scores import RetrievalScores
from lightning_monocon.metrics.spectral import SmallSampleWarning
from lightning_monocon.metrics.spectral_effective_rank import SpectralEffectiveRank
from lightning_monocon.metrics.stable_rank import StableRank
from lightning_monocon.metrics.total_variance import TotalVariance
from lightning_monocon.metrics.truncation_curve import TruncationCurve
from lightning_monocon.metrics.two_nn import TwoNN
from lightning_monocon.metrics.uniformity import Uniformity

__all__ = [
    "MRR",
    "NDCG",
    "Alignment",
    "AlphaReQ",
    "CertifiedAccuracy",
    "CodingRate",
    "CorrectedEffectiveDimension",
    "DiffusionSpectralEntropy",
    "DistinctRows",
    "EffectiveDimension",
    "EmbeddingReport",
    "FeatureCorrelation",
    "KNNAccuracy",
    "LinearCKA",
    "LocalIntrinsicDimension",
    "MeanCosine",
    "NeighbourOverlap",
    "NeighbourScores",
    "NeuralCollapse",
    "ParticipationRatio",
    "RateDistortion",
    "RecallAtK",
    "ReconstructionError",
    "RelevantRecall",
    "RetrievalScores",
    "SmallSampleWarning",
    "SpectralEffectiveRank",
    "StableRank",
    "TotalVariance",
    "TruncationCurve",
    "TwoNN",
    "Uniformity",
]
