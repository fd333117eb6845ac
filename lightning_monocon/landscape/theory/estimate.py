# SPDX-License-Identifier: Apache-2.0
"""Return numbers that may be refused: an estimate is a value with its error, or NaN with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from lightning_monocon.landscape.rates import Interval
from lightning_monocon.landscape.strata import Floats

MIN_DECADES = 1.5
MIN_POINTS = 200


class Estimate(NamedTuple):
    """Hold a value and its standard error, or NaN and the ``reason`` why the data cannot carry the number.

    Attributes:
        value: The number.
        error: Its standard error.
        reason: Why there is no number; empty if there is one.
        freedom: Degrees of freedom of the error, one less than the number of runs where it is an error over runs.
    """

    value: float
    error: float
    reason: str = ""
    freedom: float = math.inf

    @property
    def is_refused(self) -> bool:
        """Return whether there is no number."""
        return math.isnan(self.value)

    @property
    def interval(self) -> Interval:
        """Return the 95 % interval by Student's t.

        Example:
            >>> [round(bound, 2) for bound in Estimate(0.5, 0.1, freedom=9).interval]
            [0.27, 0.5, 0.73]
        """
        reach = float(stats.t.ppf(0.975, self.freedom)) * self.error
        return Interval(self.value - reach, self.value, self.value + reach)


def refuse(reason: str) -> Estimate:
    """Return an estimate without a number."""
    return Estimate(math.nan, math.nan, reason)


def decades(x: Floats) -> float:
    """Return the span of positive values in powers of ten."""
    return float(np.log10(x.max() / x.min())) if len(x) else 0.0


def power_law(x: Floats, y: Floats, tolerance: float = 0.25, noise: float = 0.0) -> Estimate:
    """Fit the exponent of ``y ~ x^a`` by least squares in log-log; refuse it if the local slope is not flat.

    The error is that of points that scatter independently about the line. The points of a mean over runs or of a walk
    do not, so those who call this function replace it.

    Args:
        x: Positive abscissae ``(N,)``.
        y: Positive ordinates ``(N,)``.
        tolerance: Largest difference between the slopes of the three thirds of log x, relative to the slope, or to
            one half if the slope is smaller.
        noise: What chance alone adds to that difference.

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
    local = local_slopes(log_x, log_y)
    if np.ptp(local) > tolerance * max(abs(slope), 0.5) + noise:
        return refuse(f"not a power law: local slopes {', '.join(f'{value:.2f}' for value in local)}")
    return Estimate(slope, error, freedom=len(log_x) - 2)


def local_slopes(log_x: Floats, log_y: Floats) -> Floats:
    """Return the slopes ``(3,)`` of the three thirds of the points."""
    thirds = zip(np.array_split(log_x, 3), np.array_split(log_y, 3), strict=True)
    return np.array([least_squares_slope(x, y)[0] for x, y in thirds])


def jackknife(statistic: Callable[[Floats], Floats], runs: Floats) -> Floats:
    """Return the standard error of each of the numbers that ``statistic`` makes of ``(R, ...)`` runs.

    Example:
        >>> runs = np.array([1.0, 2.0, 4.0])
        >>> error = jackknife(lambda some: some.mean(keepdims=True), runs)
        >>> bool(np.isclose(error, runs.std(ddof=1) / 3**0.5)[0])
        True
    """
    without = np.array([statistic(np.delete(runs, run, axis=0)) for run in range(len(runs))])
    errors: Floats = np.sqrt((len(runs) - 1) * without.var(axis=0))
    return errors


def least_squares_slope(x: Floats, y: Floats) -> tuple[float, float]:
    """Return the least-squares slope and its standard error."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    residual = y - y.mean() - slope * centred
    variance = float((residual**2).sum()) / max(len(x) - 2, 1) / float((centred**2).sum())
    return slope, math.sqrt(variance)
