# SPDX-License-Identifier: Apache-2.0
r"""Compute the fewest bits that any code of vectors needs for a mean squared error, and the smallest error for bits.

A Gaussian source whose covariance has the eigenvalues :math:`\lambda_i` needs, by reverse water-filling (Cover and
Thomas, Elements of Information Theory, 2nd edition, theorem 10.3.3),

.. math::
    R(D) = \sum_i \max\bigl(0, \tfrac12 \log_2 \tfrac{\lambda_i}{\theta}\bigr),\qquad
    \sum_i \min(\theta, \lambda_i) = D

bits a vector at the mean squared error D, summed over the components. While the water level :math:`\theta` lies
between two neighbouring eigenvalues, k components stand above it and :math:`D = k\theta + \sum_{i>k}\lambda_i`. So
both directions are solved exactly: find k among the values at the eigenvalues, then solve for one unknown.

Of all sources with that covariance the Gaussian needs the most bits. Real vectors with more structure, such as
clusters, can therefore be coded below this limit, though only by a code that knows the structure.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.moments import statistics_device


class _Levels(NamedTuple):
    """Hold what is known where the water stands at an eigenvalue, in units of the largest; float64.

    Attributes:
        largest: ``()``, the largest variance.
        logs: ``(r,)``, the sum of the binary logarithms of the first k positive variances, k from 1 to r.
        tails: ``(r,)``, the sum of those after the k-th.
        distortions: ``(r,)``, the error with the level at the k-th, descending.
        rates: ``(r,)``, the bits with the level at the k-th, ascending from 0.
    """

    largest: Tensor
    logs: Tensor
    tails: Tensor
    distortions: Tensor
    rates: Tensor


def _levels(variances: Tensor) -> _Levels:
    positive = variances[variances > 0].sort(descending=True).values
    largest = positive[0]
    scaled = positive / largest
    count = torch.arange(1, len(scaled) + 1, dtype=scaled.dtype, device=scaled.device)
    logs = scaled.log2().cumsum(0)
    # Summed from the smallest on, and not as a difference, so that a small tail keeps its digits.
    tails = torch.cat([scaled[1:].flip(0).cumsum(0).flip(0), scaled.new_zeros(1)])
    return _Levels(largest, logs, tails, count * scaled + tails, (logs - count * scaled.log2()) / 2)


def _log_level(levels: _Levels, bits: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many components share ``bits``, and the binary logarithm of the water level."""
    active = torch.searchsorted(levels.rates, bits, right=True)
    return active, (levels.logs[active - 1] - 2 * bits) / active


def gaussian_rate(variances: Tensor, distortion: Tensor) -> Tensor:
    """Return `rate_distortion` of float64 arguments that are known to be good; NaN of NaN."""
    if variances.isnan().any():
        return torch.full_like(distortion, torch.nan)
    if not variances.any():
        return torch.zeros_like(distortion)
    levels = _levels(variances)
    target = distortion / levels.largest
    active = torch.searchsorted(-levels.distortions, -target).clamp_min(1)
    level = (target - levels.tails[active - 1]) / active
    return ((levels.logs[active - 1] - active * level.log2()) / 2).clamp_min(0.0)


def rate_distortion(variances: Tensor, distortion: float | Tensor) -> Tensor:
    r"""Return the fewest bits per vector at which a Gaussian source can be coded with a mean squared error.

    .. math::
        R(D) = \sum_i \max\bigl(0, \tfrac12 \log_2 \tfrac{\lambda_i}{\theta}\bigr),\qquad
        \sum_i \min(\theta, \lambda_i) = D

    Args:
        variances: ``(D,)``, the eigenvalues of the covariance in any order, as `explained_variance` returns them.
        distortion: Mean squared error of a whole vector (summed over its numbers), in the unit of the variances;
            a number, or a tensor of any shape. At 0 the rate is infinite.

    Returns:
        Bits per vector, float64, in the shape of ``distortion``; NaN if a variance is NaN.

    Raises:
        TypeError: If ``variances`` is not a floating-point tensor.
        ValueError: If its shape is wrong, or a variance or distortion is negative or infinite.

    Example:
        >>> variances = torch.tensor([16.0, 4.0, 1.0])
        >>> rate_distortion(variances, 3.0)  # level 1: two bits, one bit, none
        tensor(3., dtype=torch.float64)
    """
    found = _check_variances(variances)
    return gaussian_rate(found, _check_amount("distortion", distortion, found.device))


def distortion_rate(variances: Tensor, bits: float | Tensor) -> Tensor:
    """Return the smallest mean squared error at which a Gaussian source can be coded, the inverse of `rate_distortion`.

    Args:
        variances: ``(D,)``, the eigenvalues of the covariance in any order, as `explained_variance` returns them.
        bits: Bits per vector, a number or a tensor of any shape.

    Returns:
        Mean squared error of a whole vector, in the unit of the variances, float64, in the shape of ``bits``; NaN if
        a variance is NaN.

    Raises:
        TypeError: If ``variances`` is not a floating-point tensor.
        ValueError: If its shape is wrong, or a variance or number of bits is negative or infinite.

    Example:
        >>> distortion_rate(torch.tensor([16.0, 4.0, 1.0]), torch.tensor([0.0, 3.0]))
        tensor([21.,  3.], dtype=torch.float64)
    """
    found = _check_variances(variances)
    amount = _check_amount("bits", bits, found.device)
    if found.isnan().any():
        return torch.full_like(amount, torch.nan)
    if not found.any():
        return torch.zeros_like(amount)
    levels = _levels(found)
    active, log_level = _log_level(levels, amount)
    return levels.largest * (active * log_level.exp2() + levels.tails[active - 1])


def component_rates(variances: Tensor, bits: float) -> Tensor:
    r"""Return how many of a vector's bits each component gets for the smallest mean squared error.

    Component i gets :math:`\max(0, \tfrac12\log_2(\lambda_i/\theta))`, with the water level :math:`\theta` at which
    they sum to ``bits``. The shares are not whole numbers: a code of scalar levels has to round them.

    Args:
        variances: ``(D,)``, the eigenvalues of the covariance in any order, as `explained_variance` returns them.
        bits: Bits per vector.

    Returns:
        ``(D,)`` float64, in the order of ``variances``, with the sum ``bits``; zeros if no variance is positive, NaN
        if one is NaN.

    Raises:
        TypeError: If ``variances`` is not a floating-point tensor.
        ValueError: If its shape is wrong, or a variance or ``bits`` is negative or infinite.

    Example:
        >>> component_rates(torch.tensor([16.0, 4.0, 1.0]), 3.0)
        tensor([2., 1., 0.], dtype=torch.float64)
    """
    found = _check_variances(variances)
    amount = _check_amount("bits", bits, found.device)
    if found.isnan().any():
        return torch.full_like(found, torch.nan)
    if not found.any():
        return torch.zeros_like(found)
    levels = _levels(found)
    _, log_level = _log_level(levels, amount)
    return (((found / levels.largest).log2() - log_level) / 2).clamp_min(0.0)


def _check_variances(variances: Tensor) -> Tensor:
    """Return the variances as float64, without a gradient.

    Raises:
        TypeError: If they are not a floating-point tensor.
        ValueError: If they are not one row of at least one, or one is negative or infinite.
    """
    if not isinstance(variances, Tensor) or not variances.is_floating_point():
        got = variances.dtype if isinstance(variances, Tensor) else type(variances).__name__
        raise TypeError(f"`variances` must be a floating-point tensor; got {got}. Take them from `explained_variance`.")
    if variances.ndim != 1 or not len(variances):
        raise ValueError(
            f"`variances` must be (D,) with D >= 1, the eigenvalues of a covariance; got shape"
            f" {tuple(variances.shape)}. For rows pass `explained_variance(rows)`."
        )
    found = variances.detach().to(statistics_device(variances.device), torch.float64)
    bad = (found < 0) | found.isinf()
    if bad.any():
        raise ValueError(
            f"`variances` must be finite and not negative; got {found[bad][0].item():g}."
            " Clamp eigenvalues that rounding made negative to 0."
        )
    return found


def _check_amount(name: str, value: float | Tensor, device: torch.device) -> Tensor:
    """Return a number or a tensor as float64.

    Raises:
        ValueError: If it, or one of its numbers, is negative or not finite.
    """
    found = torch.as_tensor(value, dtype=torch.float64, device=device).detach()
    bad = ~((found >= 0) & found.isfinite())
    if bad.any():
        raise ValueError(
            f"`{name}` must be finite and not negative; got {found[bad][0].item():g}. Pass a number per vector."
        )
    return found
