# SPDX-License-Identifier: Apache-2.0
"""Return numbers that may be refused: an estimate is a value with its error, or NaN with a reason."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lightning_monocon.landscape.strata import Floats

MIN_DECADES = 1.5
MIN_POINTS = 200


class Estimate(NamedTuple):
    """Hold a value and its standard error, or NaN and the ``reason`` why the data cannot carry the number."""

    value: float
    error: float
    reason: str = ""

    @property
    def is_refused(self) -> bool:
        """Return whether there is no number."""
        return math.isnan(self.value)


def refuse(reason: str) -> Estimate:
    """Return an estimate without a number."""
    return Estimate(math.nan, math.nan, reason)


def decades(x: Floats) -> float:
    """Return the span of positive values in powers of ten."""
    return float(np.log10(x.max() / x.min())) if len(x) else 0.0


def power_law(x: Floats, y: Floats, tolerance: float = 0.25) -> Estimate:
    """Fit the exponent of ``y ~ x^a`` by least squares in log-log; refuse it if the local slope is not flat.

    Args:
        x: Positive abscissae ``(N,)``.
        y: Positive ordinates ``(N,)``.
        tolerance: Largest difference between the slopes of the three thirds of log x, relative to the slope, or to
            one half if the slope is smaller.

    Example:
        >>> x = np.geomspace(1, 1000, 20)
        >>> round(power_law(x, x**0.5).value, 6)
        0.5
        >>> power_law(x, np.exp(-x / 100)).reason
        'not a power law: local slopes -0.03, -0.44, -4.50'
    """
    keep = (x > 0) & (y > 0)
    log_x, log_y = np.log(x[keep]), np.log(y[keep])
    if len(log_x) < 9:
        return refuse(f"needs at least 9 positive points, got {len(log_x)}")
    slope, error = least_squares_slope(log_x, log_y)
    local = [
        least_squares_slope(x, y)[0] for x, y in zip(np.array_split(log_x, 3), np.array_split(log_y, 3), strict=True)
    ]
    if max(local) - min(local) > tolerance * max(abs(slope), 0.5):
        return refuse(f"not a power law: local slopes {', '.join(f'{value:.2f}' for value in local)}")
    return Estimate(slope, error)


def least_squares_slope(x: Floats, y: Floats) -> tuple[float, float]:
    """Return the least-squares slope and its standard error."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    residual = y - y.mean() - slope * centred
    variance = float((residual**2).sum()) / max(len(x) - 2, 1) / float((centred**2).sum())
    return slope, math.sqrt(variance)
