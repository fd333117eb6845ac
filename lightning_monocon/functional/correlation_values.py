# SPDX-License-Identifier: Apache-2.0
r"""Split a correlation into one value for each pair, so that correlations can be resampled and compared like means.

The values are :math:`v_i = r + \mathrm{IF}_i` with the influence function IF of the coefficient at the sample (Hampel
1974). Influences sum to zero, so the mean of the values is the coefficient itself, and to first order a bootstrap of
their mean is the bootstrap of the coefficient over pairs. A constant series has no correlation with anything: its
values are zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.unit_rows import binary_scale


def pearson_values(first: Tensor, second: Tensor) -> Tensor:
    r"""Return for each pair :math:`r + x_i y_i - r (x_i^2 + y_i^2) / 2`, of which Pearson's r is the mean.

    Here x and y are the two series less their means, over their standard deviations (Devlin et al. 1975).

    Args:
        first: ``(N,)``, finite.
        second: ``(N,)``, finite.

    Returns:
        ``(N,)`` float64.

    Example:
        >>> float(pearson_values(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])).mean())
        1.0
    """
    x, y = _standardised(first), _standardised(second)
    r = (x * y).mean()
    return _about(r, x * y - r / 2 * (x.square() + y.square()))


def spearman_values(first: Tensor, second: Tensor) -> Tensor:
    """Return for each pair a value of which Spearman's rank correlation is the mean.

    Equal numbers share the mean of their ranks. A pair counts twice: by its own ranks, and by the ranks of all others
    that it moves (Croux and Dehon 2010).

    Args:
        first: ``(N,)``, finite.
        second: ``(N,)``, finite.

    Returns:
        ``(N,)`` float64.

    Example:
        >>> float(spearman_values(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.1, 0.3, 0.2])).mean())
        0.5
    """
    a, b = _Ranked(first), _Ranked(second)
    if a.is_constant or b.is_constant:
        return torch.zeros(len(first), dtype=torch.float64, device=first.device)
    root = (a.variance * b.variance).sqrt()
    r = (a.places * b.places).mean() / root
    covariance = a.places * b.places + a.above(b.places) + b.above(a.places)
    spread = sum((side.places.square() + 2 * side.above(side.places)) / side.variance for side in (a, b))
    return _about(r, covariance / root - r / 2 * spread)


class _Ranked:
    """Hold the centred mid-ranks of a series, over its length."""

    def __init__(self, series: Tensor) -> None:
        values, self._group, count = torch.unique(series.to(torch.float64), return_inverse=True, return_counts=True)
        self._groups = len(values)
        count = count.to(torch.float64)
        middle = (count.cumsum(0) - count / 2) / len(series)
        self.places = middle[self._group] - 0.5
        self.variance = self.places.square().mean()

    @property
    def is_constant(self) -> bool:
        return self._groups < 2

    def above(self, weights: Tensor) -> Tensor:
        """Return for each item the mean of the weights of all that are larger, equal ones counting half."""
        totals = weights.new_zeros(self._groups).index_add_(0, self._group, weights)
        larger = totals.flip(0).cumsum(0).flip(0) - totals / 2
        return larger[self._group] / len(weights)


def _standardised(series: Tensor) -> Tensor:
    """Return a series in float64 with mean 0 and mean square 1; zeros if it is constant."""
    series = series.to(torch.float64)
    if (series == series[:1]).all():
        return torch.zeros_like(series)
    series = series * binary_scale(series, dim=0)  # exact, and the sum stays finite
    centred = series - series.mean()
    centred = centred / centred.abs().max()  # squares of tiny differences would vanish
    return centred / centred.square().mean().sqrt()


def _about(mean: Tensor, values: Tensor) -> Tensor:
    """Return the values moved to that mean, to the last digit."""
    return values - values.mean() + mean
