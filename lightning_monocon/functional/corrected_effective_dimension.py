# SPDX-License-Identifier: Apache-2.0
r"""Estimate the effective dimension of the population behind a sample, corrected for bias, or refuse.

Two curves bracket the population's explained share :math:`F(k) = \sum_{i\le k}\lambda_i / \sum_i\lambda_i`:

- *inside*, the share that the k first principal components explain of the rows they were fitted on. It is too high:
  the sample's own directions are the best for the sample (Ky Fan).
- *outside*, the share that they explain of rows they have not seen, by cross-validation over the groups. It is too
  low: no k directions explain more of the population than its own.

To second order in the perturbation of the covariance both err by the same amount,
:math:`\frac1n\sum_{i\le k<j}\frac{\lambda_i\lambda_j}{\lambda_i-\lambda_j}` for Gaussian rows, with opposite signs.
So their mean is the corrected curve, and their gap measures what the correction does not know. The
interval takes the inside curve raised, and the outside curve lowered, by the sampling error of the curves
(delete-group jackknife, Student's t). Its ends are where these two reach the wanted share; where the lowered outside
curve never does (too few rows for the tail of this spectrum) there is no upper end, and the estimate is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_variance
from lightning_monocon.functional.effective_dimension import TIE
from lightning_monocon.functional.jackknife import (
    Estimate,
    check_groups,
    grouped_moments,
    leave_one_out,
    student_quantile,
)
from lightning_monocon.functional.moments import Moments, merge_all
from lightning_monocon.functional.spectrum import components_from_moments, variances_from_moments


class RefusedEstimateWarning(UserWarning):
    """The rows are too few for a bias-corrected value; value and upper end are NaN."""


class _Curves(NamedTuple):
    """Hold the explained share of k = 1 ... K components, ``(K,)`` each."""

    whole: Tensor  # of the whole sample by its own components
    inside: Tensor
    outside: Tensor
    error: Tensor  # standard error


def _held_out(fitted: Moments, unseen: Moments) -> tuple[Tensor, Tensor]:
    """Return the share explained of the fitted rows, and the cumulated squares of the unseen rows, ``(D,)`` each."""
    mean, components, variances = components_from_moments(fitted)
    shift = components @ (unseen.mean - mean)
    squares = ((components @ unseen.comoment) * components).sum(dim=1) + unseen.rows * shift.square()
    return variances.cumsum(0) / variances.sum(), squares.clamp_min(0.0).cumsum(0)


def _curves(parts: Sequence[Moments]) -> _Curves:
    rest = leave_one_out(parts)
    pairs = [_held_out(fitted, unseen) for fitted, unseen in zip(rest, parts, strict=True)]
    inside, squares = (torch.stack(side) for side in zip(*pairs, strict=True))
    outside = squares.sum(dim=0) / squares[:, -1].sum()
    count = len(parts)
    scatter = (inside - inside.mean(dim=0)).square().sum(dim=0)
    inside_error = (scatter * (count - 1) / count).sqrt()
    outside_error = (squares / squares[:, -1:]).std(dim=0) / count**0.5
    variances = variances_from_moments(merge_all(parts))
    # Beyond the rank of a fit its directions are arbitrary: nothing is known there, unless they are all of them.
    rank = int(min(int(fitted.rows) for fitted in rest)) - 1
    reach = slice(None if rank >= len(variances) else rank)
    curves = (variances.cumsum(0) / variances.sum(), inside.mean(dim=0), outside)
    return _Curves(*(curve[reach] for curve in (*curves, torch.maximum(inside_error, outside_error))))


def _first(curve: Tensor, variance: float) -> Tensor:
    """Return the smallest k at which a curve, made monotone, reaches ``variance``; NaN where it never does."""
    reached = (curve.cummax(dim=0).values >= variance - TIE).nonzero()
    return curve.new_tensor(float(reached[0]) + 1.0 if len(reached) else torch.nan)


def corrected_from_parts(parts: Sequence[Moments], variance: float, confidence: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return value, low and high from the moments of the groups; value and high NaN, and one warning, if refused."""
    filled = [part for part in parts if part.rows > 0]
    whole = merge_all(parts)
    nan = torch.full_like(whole.rows, torch.nan)
    if len(filled) < 2 or min(int(rest.rows) for rest in leave_one_out(filled)) < 2:
        _refuse(int(whole.rows), len(whole.mean), variance)
        return nan, nan, nan
    if torch.isnan(variances_from_moments(whole)[0]):
        return nan, nan, nan
    curves = _curves(filled)
    margin = student_quantile(len(filled), confidence) * curves.error
    low = _first(curves.whole + margin, variance)
    # All components explain everything, whatever the sampling error.
    full = len(curves.whole) == len(whole.mean)
    high = _first(
        torch.cat([(curves.outside - margin)[:-1], curves.outside[-1:]]) if full else curves.outside - margin, variance
    )
    if torch.isnan(high):
        _refuse(int(whole.rows), len(whole.mean), variance)
        return nan, low, nan
    value = _first((curves.inside + curves.outside) / 2.0, variance)
    return value.clamp(low, high), low, high


def _refuse(rows: int, width: int, variance: float) -> None:
    warnings.warn(
        f"No bias-corrected effective dimension at {variance:g} from {rows} rows in {width} dimensions: components"
        " fitted on part of them do not explain that share of the rest. The value is NaN; use more rows or a smaller"
        " `variance`.",
        RefusedEstimateWarning,
        stacklevel=3,
    )


def corrected_effective_dimension(
    embeddings: Tensor, variance: float = 0.99, groups: int = 10, confidence: float = 0.95, normalize: bool = True
) -> Estimate:
    """Return the effective dimension of the population behind the rows, with an interval, or refuse.

    The plain effective dimension grows with the sample; this estimates where it is going. Method and limits are in
    the module's text and, with the measured coverage, in the docs: rows must be independent, so copies,
    augmentations and near-duplicates of one input make the interval too low.

    Args:
        embeddings: ``(N, D)``, any floating dtype.
        variance: The share to explain, in (0, 1].
        groups: Parts for cross-validation and jackknife, at least 2.
        confidence: Nominal coverage; the interval is conservative.
        normalize: Divide every row by its length first.

    Returns:
        The estimate; where it is refused ``value`` and ``high`` are NaN, ``low`` still holds, and one warning says so.

    Raises:
        TypeError: If ``embeddings`` is not a floating-point tensor.
        ValueError: If the shape is wrong, a row is not finite, or another argument is out of range.

    Example:
        >>> rows = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) @ torch.eye(3, 8)
        >>> estimate = corrected_effective_dimension(rows, normalize=False)
        >>> int(estimate.value), int(estimate.low), int(estimate.high)
        (3, 3, 3)
    """
    check_variance(variance)
    check_groups(groups, confidence)
    parts = grouped_moments(embeddings, groups, normalize)
    value, low, high = corrected_from_parts(parts, variance, confidence)
    return Estimate(value, low, high, confidence, len(embeddings), embeddings.shape[1], normalize)
