# SPDX-License-Identifier: Apache-2.0
"""The CUSUM against a plain loop, its alarms, and the calibration of its false-alarm probability."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape.theory import detect_change, false_alarm_probability, log_time_increments
from lightning_monocon.landscape.theory.cusum import cusum_path, prewhiten


def _ar(rng: np.random.Generator, runs: int, length: int, slope: float) -> np.ndarray:
    series = rng.standard_normal((runs, length + 100))
    for t in range(1, length + 100):
        series[:, t] += slope * series[:, t - 1]
    return series[:, 100:]


def test_path_equals_the_recursion() -> None:
    scores = np.random.default_rng(0).standard_normal(60) + 0.3
    up = down = 0.0
    expected = []
    for z in scores:
        up, down = max(0.0, up + z - 0.5), max(0.0, down - z - 0.5)
        expected.append((up, down))
    np.testing.assert_allclose(cusum_path(scores[None])[0], expected)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_shift_is_found_soon(direction: int) -> None:
    series = _ar(np.random.default_rng(1), 1, 200, 0.5)[0]
    series[120:] += direction * 4.0
    alarm = detect_change(series)
    assert alarm.direction == direction
    assert 120 <= alarm.position < 140
    assert 0 <= alarm.false_alarm < 0.5


def test_short_burn_in_is_uncalibrated() -> None:
    alarm = detect_change(np.random.default_rng(0).standard_normal(80), burn_in=30)
    assert math.isnan(alarm.false_alarm)
    assert alarm.reason == "uncalibrated: burn-in 30 < 50"


@pytest.mark.parametrize("slope", [0.0, 0.5], ids=lambda s: f"ar={s}")
def test_false_alarm_probability_is_calibrated(slope: float) -> None:
    """On average over burn-ins, the bootstrap gives the true share of alarms within 0.05."""
    rng, burn_in, horizon = np.random.default_rng(2), 80, 200
    series = _ar(rng, 3000, burn_in + horizon, slope)
    alarms = cusum_path(prewhiten(series, burn_in)[:, burn_in:]).max(axis=(1, 2)) > 8.0
    guesses = [false_alarm_probability(s[:burn_in], horizon, replicates=150, seed=i) for i, s in enumerate(series[:40])]
    assert np.mean(guesses) == pytest.approx(alarms.mean(), abs=0.05)


def test_log_time_increments_of_a_logarithm_are_even() -> None:
    steps = np.unique(np.round(np.geomspace(1, 3000, 80)))
    increments = log_time_increments(steps, np.log1p(steps))
    np.testing.assert_allclose(increments, increments[0])


def test_too_short_a_series_is_named() -> None:
    with pytest.raises(ValueError, match="`series` must be longer than `burn_in` >= 20"):
        detect_change(np.zeros(50))
