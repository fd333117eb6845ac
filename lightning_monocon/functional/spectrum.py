# SPDX-License-Identifier: Apache-2.0
"""Compute the principal components of embeddings: variances (descending eigenvalues of the covariance) and axes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.moments import Moments, covariance, moments


class PrincipalComponents(NamedTuple):
    """Hold mean and principal axes of embeddings, float64.

    Attributes:
        mean: ``(D,)``, about which the axes are taken.
        components: ``(D, D)``, one unit direction a row, by falling variance.
        variances: ``(D,)``, the variance along each, descending, >= 0.
    """

    mean: Tensor
    components: Tensor
    variances: Tensor


def variances_from_moments(statistics: Moments) -> Tensor:
    """Return the descending eigenvalues ``(D,)`` of the covariance; NaN, with one warning, if there is none."""
    matrix = covariance(statistics)
    if matrix is None:
        return torch.full_like(statistics.mean, torch.nan)
    variances: Tensor = torch.linalg.eigvalsh(matrix)
    return variances.flip(0).clamp_min(0.0)


def components_from_moments(statistics: Moments) -> PrincipalComponents:
    """Return mean, axes and variances; NaN, with one warning, if there is no covariance."""
    matrix = covariance(statistics)
    if matrix is None:
        nan = torch.full_like(statistics.comoment, torch.nan)
        return PrincipalComponents(statistics.mean, nan, nan[0])
    variances, directions = torch.linalg.eigh(matrix)
    return PrincipalComponents(statistics.mean, directions.T.flip(0), variances.flip(0).clamp_min(0.0))


def squared_singular_values(statistics: Moments, centred: bool) -> Tensor:
    """Return the descending squared singular values ``(D,)`` of the centred or raw rows.

    They are NaN, with one warning, if the rows leave them undefined.
    """
    if centred:
        return variances_from_moments(statistics) * (statistics.rows - 1.0)
    if statistics.rows < 2 or not torch.isfinite(statistics.comoment).all():
        covariance(statistics)  # names the cause
        return torch.full_like(statistics.mean, torch.nan)
    second = statistics.comoment + statistics.rows * torch.outer(statistics.mean, statistics.mean)
    if not second.any() and statistics.mean.any():
        covariance(statistics)  # names the cause
        return torch.full_like(statistics.mean, torch.nan)
    if not second.any():
        warn_degenerate(f"All {int(statistics.rows)} rows are zero")
        return torch.full_like(statistics.mean, torch.nan)
    squares: Tensor = torch.linalg.eigvalsh((second + second.T) / 2.0)
    return squares.flip(0).clamp_min(0.0)


def numerical_rank(variances: Tensor) -> int:
    """Return how many principal directions of unit rows hold more than rounding error.

    Args:
        variances: ``(D,)`` float64 eigenvalues of the covariance of L2-normalised rows.
    """
    # Unit rows have second moment 1, so rounding leaves about D eps of variance in any direction.
    floor = len(variances) * torch.finfo(torch.float64).eps
    return int((variances > floor).sum())


def explained_variance(embeddings: Tensor, normalize: bool = True) -> Tensor:
    """Return the variance along each principal component, ``(D,)`` float64, descending.

    The eigenvalues of the centred covariance with denominator ``N - 1``, as scikit-learn's
    ``PCA.explained_variance_``; tiny negative ones are clamped to 0.

    Arguments and errors are those of `moments`.

    Example:
        >>> explained_variance(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), normalize=False)
        tensor([2.6667, 0.6667], dtype=torch.float64)
    """
    return variances_from_moments(moments(embeddings, normalize))


def principal_components(embeddings: Tensor, normalize: bool = True) -> PrincipalComponents:
    """Return mean ``(D,)``, unit directions ``(D, D)`` by falling variance (rows), and variances ``(D,)``; float64.

    Arguments and errors are those of `moments`.

    Example:
        >>> rows = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> principal_components(rows, normalize=False).components.abs()
        tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    return components_from_moments(moments(embeddings, normalize))
