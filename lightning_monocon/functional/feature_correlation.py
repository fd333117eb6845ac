# SPDX-License-Identifier: Apache-2.0
"""Measure how far the features of an embedding are from uncorrelated."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.moments import ROUNDING, Moments, covariance, moments


class FeatureCorrelationResult(NamedTuple):
    """Hold the correlation among the features that vary; 0-d float64 tensors.

    Attributes:
        rms: Root mean square of the off-diagonal correlations, in [0, 1].
        constant_features: How many features do not vary and were left out.
    """

    rms: Tensor
    constant_features: Tensor


def feature_correlation_from_moments(statistics: Moments) -> FeatureCorrelationResult:
    """Return the result from the statistics; NaN, with one warning, if fewer than two vary."""
    matrix = covariance(statistics)
    nan = statistics.mean.new_tensor(torch.nan)
    if matrix is None:
        return FeatureCorrelationResult(nan, nan)
    spread = matrix.diagonal()
    # A feature that is constant up to rounding of its own mean, as `np.corrcoef` would divide by it and give noise.
    alive = spread > (ROUNDING * statistics.mean).square()
    constant = (~alive).sum().to(spread.dtype)
    features = int(alive.sum())
    if features < 2:
        warn_degenerate(f"A correlation needs at least 2 features that vary, got {features} of {len(spread)}")
        return FeatureCorrelationResult(nan, constant)
    scale = spread[alive].rsqrt()
    correlation = matrix[alive][:, alive] * scale * scale[:, None]
    square = correlation.square().sum() - features  # the diagonal is 1
    return FeatureCorrelationResult((square.clamp_min(0.0) / (features * (features - 1))).sqrt(), constant)


def feature_correlation(embeddings: Tensor, normalize: bool = True) -> FeatureCorrelationResult:
    r"""Return the root mean square off-diagonal feature correlation, and how many constant features were left out.

    .. math::
        \sqrt{\frac{1}{d(d-1)}\sum_{i\ne j}\rho_{ij}^2}

    over the d features that vary. It is a function of the participation ratio of the correlation matrix,
    :math:`\sqrt{(d/\mathrm{PR}-1)/(d-1)}`, and *grows* as an embedding compacts: report it, never advertise it.
    MonoCon calls it disentanglement.

    Arguments and errors are those of `moments`.

    Example:
        >>> rows = torch.tensor([[0.0, 0.0, 5.0], [1.0, 2.0, 5.0], [2.0, 4.0, 5.0]])
        >>> feature_correlation(rows, normalize=False).constant_features
        tensor(1., dtype=torch.float64)
    """
    return feature_correlation_from_moments(moments(embeddings, normalize))
