# SPDX-License-Identifier: Apache-2.0
"""Measure what the gallery's principal subspace leaves out of the query embeddings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, check_variance, warn_degenerate
from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.moments import Moments, moments
from lightning_monocon.functional.spectrum import components_from_moments


class ReconstructionResult(NamedTuple):
    """Hold what the top-k principal subspace of the gallery leaves out of the query; 0-d float64 tensors.

    Attributes:
        rmse: Root mean square, over all N x D entries, of the residual.
        fvu: The residual's share of the query's sum of squares about the gallery mean, in [0, 1].
        dimension: k, the gallery's effective dimension.
    """

    rmse: Tensor
    fvu: Tensor
    dimension: Tensor


def reconstruction_from_moments(gallery: Moments, query: Moments, variance: float) -> ReconstructionResult:
    """Return the result from the two sets of statistics; NaN, with one warning, if it is undefined."""
    mean, components, variances = components_from_moments(gallery)
    dimension = components_for(variances, variance)
    nan = mean.new_tensor(torch.nan)
    if torch.isnan(dimension):
        return ReconstructionResult(nan, nan, nan)
    if query.rows < 1:
        warn_degenerate("The reconstruction error needs at least 1 query row, got 0")
        return ReconstructionResult(nan, nan, dimension)
    if not torch.isfinite(query.comoment).all():
        warn_degenerate("The query's sums of squares overflow float64 (rescale the embeddings)")
        return ReconstructionResult(nan, nan, dimension)
    shift = query.mean - mean
    left_out = components[int(dimension) :]  # (D - k, D)
    # Summed over the directions left out, not as a difference: no cancellation when little is left.
    residual = ((left_out @ query.comoment) * left_out).sum() + query.rows * (left_out @ shift).square().sum()
    residual = residual.clamp_min(0.0)
    total = query.comoment.trace() + query.rows * shift.square().sum()
    rmse = (residual / (query.rows * len(mean))).sqrt()
    return ReconstructionResult(rmse, (residual / total).clamp_max(1.0), dimension)


def reconstruction_error(
    gallery: Tensor, query: Tensor, variance: float = 0.99, normalize: bool = True
) -> ReconstructionResult:
    r"""Return RMSE, unexplained fraction and dimension of the query outside the gallery's principal subspace.

    With :math:`m` the gallery's mean, :math:`P` the projector on its first k principal components (k its
    `effective_dimension`) and :math:`r_i = (I - P)(q_i - m)`:

    .. math::
        \mathrm{rmse} = \sqrt{\frac{1}{ND}\sum_i |r_i|^2},\qquad
        \mathrm{fvu} = \frac{\sum_i |r_i|^2}{\sum_i |q_i - m|^2}

    Both sums of ``fvu`` are about the *gallery's* mean, so ``fvu`` lies in [0, 1] and a query that sits off the
    gallery counts against it. ``rmse`` alone is won by collapse and by a constant shift; MonoCon calls it robustness.

    Args:
        gallery: ``(M, D)``, on which mean and subspace are fitted (train).
        query: ``(N, D)``, on which the error is measured (test).
        variance: The share of the gallery's variance that fixes k, in (0, 1].
        normalize: Divide every row by its length first.

    Raises:
        TypeError: If an input is not a floating-point tensor.
        ValueError: If a shape is wrong, the widths differ, a row is not finite, or ``variance`` is outside (0, 1].

    Example:
        >>> gallery = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> reconstruction_error(gallery, torch.tensor([[3.0, 4.0]]), normalize=False).fvu
        tensor(0.6400, dtype=torch.float64)
    """
    check_variance(variance)
    check_embeddings(gallery, "gallery")
    check_embeddings(query, "query", width=gallery.shape[1])
    return reconstruction_from_moments(moments(gallery, normalize), moments(query, normalize), variance)
