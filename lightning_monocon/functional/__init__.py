# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the metrics and of training: pure, typed functions on tensors."""

from lightning_monocon.functional.checks import DegenerateSampleWarning
from lightning_monocon.functional.effective_dimension import effective_dimension
from lightning_monocon.functional.feature_correlation import FeatureCorrelationResult, feature_correlation
from lightning_monocon.functional.knn_accuracy import knn_accuracy
from lightning_monocon.functional.mean_cosine import mean_cosine
from lightning_monocon.functional.moments import Moments, moments
from lightning_monocon.functional.neighbour_scores import neighbour_scores
from lightning_monocon.functional.neighbours import Neighbours, neighbours
from lightning_monocon.functional.recall_at_k import recall_at_k
from lightning_monocon.functional.reconstruction_error import ReconstructionResult, reconstruction_error
from lightning_monocon.functional.spectrum import PrincipalComponents, explained_variance, principal_components
from lightning_monocon.functional.total_variance import total_variance

__all__ = [
    "DegenerateSampleWarning",
    "FeatureCorrelationResult",
    "Moments",
    "Neighbours",
    "PrincipalComponents",
    "ReconstructionResult",
    "effective_dimension",
    "explained_variance",
    "feature_correlation",
    "knn_accuracy",
    "mean_cosine",
    "moments",
    "neighbour_scores",
    "neighbours",
    "principal_components",
    "recall_at_k",
    "reconstruction_error",
    "total_variance",
]
