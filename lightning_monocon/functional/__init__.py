# SPDX-License-Identifier: Apache-2.0
"""Compute what the metrics measure: pure, typed functions on tensors."""

from lightning_monocon.functional.alignment import alignment
from lightning_monocon.functional.alpha_req import alpha_req
from lightning_monocon.functional.average_precision import average_precision
from lightning_monocon.functional.certified_neighbours import Certified, certified_neighbours
from lightning_monocon.functional.checks import DegenerateSampleWarning
from lightning_monocon.functional.coding_rate import coding_rate
from lightning_monocon.functional.corrected_effective_dimension import (
    RefusedEstimateWarning,
    corrected_effective_dimension,
)
from lightning_monocon.functional.diffusion_spectral_entropy import diffusion_spectral_entropy
from lightning_monocon.functional.effective_dimension import effective_dimension
from lightning_monocon.functional.feature_correlation import FeatureCorrelationResult, feature_correlation
from lightning_monocon.functional.intrinsic_dimension import IntrinsicDimensionResult
from lightning_monocon.functional.jackknife import Estimate, jackknife
from lightning_monocon.functional.knn_accuracy import knn_accuracy
from lightning_monocon.functional.linear_cka import linear_cka
from lightning_monocon.functional.local_intrinsic_dimension import local_intrinsic_dimension
from lightning_monocon.functional.mean_cosine import mean_cosine
from lightning_monocon.functional.moments import Moments, moments
from lightning_monocon.functional.ndcg import ndcg
from lightning_monocon.functional.neighbour_overlap import neighbour_overlap, reference_recall
from lightning_monocon.functional.neighbour_scores import neighbour_scores
from lightning_monocon.functional.neighbours import Neighbours, neighbours
from lightning_monocon.functional.neural_collapse import NeuralCollapseResult, neural_collapse
from lightning_monocon.functional.participation_ratio import participation_ratio
from lightning_monocon.functional.rank_biased_overlap import rank_biased_overlap
from lightning_monocon.functional.rate_distortion import component_rates, distortion_rate, rate_distortion
from lightning_monocon.functional.recall_at_k import recall_at_k
from lightning_monocon.functional.reciprocal_rank import reciprocal_rank
from lightning_monocon.functional.reconstruction_error import ReconstructionResult, reconstruction_error
from lightning_monocon.functional.red_flags import RedFlag, red_flags
from lightning_monocon.functional.relevance import Relevance, grades_of, ideal_grades, relevant_rows
from lightning_monocon.functional.relevant_recall import relevant_recall
from lightning_monocon.functional.spearman import spearman
from lightning_monocon.functional.spectral_effective_rank import spectral_effective_rank
from lightning_monocon.functional.spectrum import PrincipalComponents, explained_variance, principal_components
from lightning_monocon.functional.stable_rank import stable_rank
from lightning_monocon.functional.total_variance import total_variance
from lightning_monocon.functional.truncation_curve import truncation_curve
from lightning_monocon.functional.two_nn import two_nn
from lightning_monocon.functional.uniformity import uniformity

__all__ = [
    "Certified",
    "DegenerateSampleWarning",
    "Estimate",
    "FeatureCorrelationResult",
    "IntrinsicDimensionResult",
    "Moments",
    "Neighbours",
    "NeuralCollapseResult",
    "PrincipalComponents",
    "ReconstructionResult",
    "RedFlag",
    "RefusedEstimateWarning",
    "Relevance",
    "alignment",
    "alpha_req",
    "average_precision",
    "certified_neighbours",
    "coding_rate",
    "component_rates",
    "corrected_effective_dimension",
    "diffusion_spectral_entropy",
    "distortion_rate",
    "effective_dimension",
    "explained_variance",
    "feature_correlation",
    "grades_of",
    "ideal_grades",
    "jackknife",
    "knn_accuracy",
    "linear_cka",
    "local_intrinsic_dimension",
    "mean_cosine",
    "moments",
    "ndcg",
    "neighbour_overlap",
    "neighbour_scores",
    "neighbours",
    "neural_collapse",
    "participation_ratio",
    "principal_components",
    "rank_biased_overlap",
    "rate_distortion",
    "recall_at_k",
    "reciprocal_rank",
    "reconstruction_error",
    "red_flags",
    "reference_recall",
    "relevant_recall",
    "relevant_rows",
    "spearman",
    "spectral_effective_rank",
    "stable_rank",
    "total_variance",
    "truncation_curve",
    "two_nn",
    "uniformity",
]
