# SPDX-License-Identifier: Apache-2.0
"""Forecast from one run when the network will generalise, once the validation credence has begun to rise.

    logit c_val(t) ~ a + b t      over the trailing 35 % of the elapsed steps      t50 = -a / b

On 11 classifier runs forecasts made when c_val reached 0.05 / 0.10 / 0.20 were off by -20..+34 % / -12..+19 % /
-6..+9 %. Growth is slightly super-exponential, so forecasts tend to be late. Residuals are autocorrelated and a
bootstrap interval is too narrow, so it is widened to at least 25 % of the forecast on either side, 40 % below
c_val = 0.10.

These margins hold for the class scores of classifiers alone. On runs of SupCon, whose credence is a vote of neighbours,
forecasts were late by 12 to 88 %: `monocon landscape` makes none there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lightning_monocon.landscape.rules import MEMORISED
from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory.estimate import least_squares_slope
from lightning_monocon.landscape.trajectory import Trajectory

TRAILING = 0.35
MARGIN, EARLY_MARGIN = 0.25, 0.40
EARLY = 0.10
REPLICATES = 200


class Forecast(NamedTuple):
    """Hold the step when the credence will reach one half and its interval of at least 90 %, or NaN and a reason."""

    step: float
    low: float
    high: float
    reason: str = ""


def forecast_generalisation(trajectory: Trajectory, chance: float) -> Forecast:
    """Forecast a run that has memorised and whose held-out credence is at least twice ``chance``."""
    memorised = trajectory.role_crossing("train", MEMORISED)
    if math.isnan(memorised):
        return _none("the train credence has not reached 0.9")
    steps, credence = trajectory.column("step"), trajectory.role("held_out")
    if credence[-1] < 2 * chance:
        return _none(f"validation credence {credence[-1]:.3f} < 2 x chance {chance:.3f}: only several runs can tell")
    after = steps > memorised
    return forecast_crossing(steps[after], credence[after])


def forecast_crossing(steps: Floats, credence: Floats, seed: int = 0) -> Forecast:
    """Extrapolate the logit of ``(T,)`` credences over the trailing window of ``(T,)`` steps to one half.

    Example:
        >>> steps = np.arange(100.0, 600, 25)
        >>> forecast = forecast_crossing(steps, 1 / (1 + np.exp(-(steps - 1000) / 150)))
        >>> round(forecast.step), round(forecast.low), round(forecast.high)
        (1000, 600, 1400)
    """
    recent = steps >= (1 - TRAILING) * steps[-1] if len(steps) else np.zeros(0, dtype=bool)
    if recent.sum() < 4:
        return _none(f"needs 4 evaluations in the trailing {TRAILING:.0%} of the steps, got {int(recent.sum())}")
    x, c = steps[recent], np.clip(credence[recent], 1e-3, 1 - 1e-3)
    logit = np.log(c / (1 - c))
    slope, intercept = _line(x, logit)
    if slope <= 0:
        return _none("the validation credence is not rising")
    step = -intercept / slope
    low, high = _bootstrap(x, logit, slope, intercept, seed)
    margin = EARLY_MARGIN if c[-1] < EARLY else MARGIN
    return Forecast(step, min(low, (1 - margin) * step), max(high, (1 + margin) * step))


def _bootstrap(x: Floats, y: Floats, slope: float, intercept: float, seed: int) -> tuple[float, float]:
    """Return the 5 and 95 % quantiles of the crossing over resampled residuals; infinite if the credence falls."""
    fitted, rng = intercept + slope * x, np.random.default_rng(seed)
    crossings = []
    for _ in range(REPLICATES):
        again, offset = _line(x, fitted + rng.choice(y - fitted, len(y)))
        crossings.append(-offset / again if again > 0 else np.inf)
    ordered = np.sort(crossings)  # np.quantile would interpolate between infinities
    return float(ordered[int(0.05 * REPLICATES)]), float(ordered[int(0.95 * REPLICATES)])


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    slope, _ = least_squares_slope(x, y)
    return slope, float(y.mean() - slope * x.mean())


def _none(reason: str) -> Forecast:
    return Forecast(math.nan, math.nan, math.nan, reason)
