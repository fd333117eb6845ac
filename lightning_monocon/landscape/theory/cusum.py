# SPDX-License-Identifier: Apache-2.0
"""Warn when a scalar changes its level: a prewhitened two-sided CUSUM with a bootstrapped false-alarm probability.

    z_t   residuals of an AR(1) fitted to the burn-in, centred and scaled robustly (median, MAD)
    C+_t = max(0, C+_{t-1} + z_t - k)      C-_t = max(0, C-_{t-1} - z_t - k)      alarm if either exceeds h

The textbook run length (Siegmund) holds for known parameters. With parameters estimated from 50 points, the probability
of a false alarm in 200 evaluations at h = 5 is 0.5, and AR(0.9) data that are not prewhitened always raise one. This
module therefore uses h = 8, a burn-in of 50, and a probability that resamples the burn-in and estimates the parameters
again each time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lightning_monocon.landscape.strata import Floats

BURN_IN = 50
ALLOWANCE = 0.5
THRESHOLD = 8.0
MIN_BURN_IN = 20


class Alarm(NamedTuple):
    """Hold the outcome of the detector.

    Attributes:
        position: First position in the series over the threshold; None without an alarm.
        direction: +1 for a rise, -1 for a fall, 0 without an alarm.
        false_alarm: Probability of an alarm over the same horizon if nothing changes; NaN if uncalibrated.
        reason: Why the detector is uncalibrated; empty if it is calibrated.
    """

    position: int | None
    direction: int
    false_alarm: float
    reason: str = ""


def detect_change(series: Floats, burn_in: int = BURN_IN, threshold: float = THRESHOLD, seed: int = 0) -> Alarm:
    """Look for a change of level in ``(T,)`` values after the first ``burn_in`` of them.

    Raises:
        ValueError: If the series is not longer than the burn-in, or the burn-in is shorter than 20.
    """
    values = np.asarray(series, dtype=np.float64)
    if burn_in < MIN_BURN_IN or values.ndim != 1 or len(values) <= burn_in:
        raise ValueError(
            f"`series` must be longer than `burn_in` >= {MIN_BURN_IN}, got shape {values.shape} and {burn_in}."
        )
    path = cusum_path(prewhiten(values[None], burn_in)[:, burn_in:])[0]  # (T - m, 2)
    over = np.flatnonzero(path.max(axis=1) > threshold)
    chance, reason = math.nan, f"uncalibrated: burn-in {burn_in} < {BURN_IN}"
    if burn_in >= BURN_IN:
        chance, reason = false_alarm_probability(values[:burn_in], len(values) - burn_in, threshold, seed=seed), ""
    if not len(over):
        return Alarm(None, 0, chance, reason)
    return Alarm(burn_in + int(over[0]), 1 if path[over[0], 0] > threshold else -1, chance, reason)


def log_time_increments(steps: Floats, values: Floats) -> Floats:
    """Return the ``(T - 1,)`` increments of ``(T,)`` values, resampled to T points evenly spaced in log(step + 1)."""
    times = np.log1p(np.asarray(steps, dtype=np.float64))
    increments: Floats = np.diff(np.interp(np.linspace(times[0], times[-1], len(times)), times, values))
    return increments


def prewhiten(series: Floats, burn_in: int) -> Floats:
    """Return robust z-scores of the AR(1) residuals of ``(R, T)`` series; the parameters come from the burn-in."""
    start = series[:, :burn_in]
    level = np.median(start, axis=1, keepdims=True)
    centred = series - level
    residual = centred.copy()
    residual[:, 1:] -= _autoregression(centred[:, :burn_in])[:, None] * centred[:, :-1]

    control = residual[:, 1:burn_in]
    centre = np.median(control, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(control - centre), axis=1, keepdims=True)
    scores: Floats = (residual - centre) / np.maximum(spread, 1e-300)
    return scores


def cusum_path(scores: Floats, allowance: float = ALLOWANCE) -> Floats:
    """Return the upper and lower sums ``(R, T, 2)`` of ``(R, T)`` z-scores."""
    signed = np.stack([scores, -scores], axis=-1) - allowance
    path = np.empty_like(signed)
    total = np.zeros_like(signed[:, 0])
    for t in range(signed.shape[1]):
        total = np.maximum(0.0, total + signed[:, t])
        path[:, t] = total
    return path


def false_alarm_probability(
    control: Floats, horizon: int, threshold: float = THRESHOLD, replicates: int = 400, seed: int = 0
) -> float:
    """Return the share of alarms within ``horizon`` if the ``(m,)`` in-control values continue unchanged.

    The AR(1) process of the control continues with its own residuals, drawn by the stationary bootstrap (Politis and
    Romano 1994, mean block m^(1/3)). Each replicate estimates its own parameters from its first m values.
    """
    burn_in, rng = len(control), np.random.default_rng(seed)
    centred = control - np.median(control)
    slope = float(_autoregression(centred[None])[0])
    residual = centred[1:] - slope * centred[:-1]
    shocks = _stationary_bootstrap(residual - residual.mean(), (replicates, 2 * burn_in + horizon), rng)
    series = np.zeros_like(shocks)
    for t in range(1, shocks.shape[1]):
        series[:, t] = slope * series[:, t - 1] + shocks[:, t]
    series = series[:, burn_in:]  # the start at zero is forgotten
    path = cusum_path(prewhiten(series, burn_in)[:, burn_in:])
    return float((path.max(axis=(1, 2)) > threshold).mean())


def _autoregression(centred: Floats) -> Floats:
    """Return the AR(1) coefficient of each of ``(R, m)`` centred series, corrected for Kendall's small-sample bias."""
    past, now = centred[:, :-1], centred[:, 1:]
    slope = (past * now).sum(axis=1) / np.maximum((past**2).sum(axis=1), 1e-300)
    corrected: Floats = np.clip(slope + (1 + 3 * slope) / centred.shape[1], -0.98, 0.98)
    return corrected


def _stationary_bootstrap(values: Floats, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw rows of blocks of ``values`` with geometric lengths, wrapped around the end."""
    block = max(len(values) ** (1 / 3), 1.0)
    is_start = rng.random(shape) < 1 / block
    is_start[:, 0] = True
    positions = rng.integers(0, len(values), shape)
    columns = np.arange(shape[1])[None]
    begun = np.maximum.accumulate(np.where(is_start, columns, 0), axis=1)  # column at which the block started
    index = (np.take_along_axis(positions, begun, axis=1) + columns - begun) % len(values)
    drawn: Floats = values[index]
    return drawn
