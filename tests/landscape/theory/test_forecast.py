# SPDX-License-Identifier: Apache-2.0
"""Forecasts of a planted crossing, and the reasons why there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles.credence_paths import STRATA, sigmoid

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.theory import forecast_crossing, forecast_generalisation


@pytest.mark.parametrize(("level", "tolerance"), [(0.05, 0.15), (0.10, 0.12), (0.20, 0.08)])
def test_forecast_from_a_growing_credence(level: float, tolerance: float) -> None:
    steps = np.arange(100.0, 3000, 25)
    rng = np.random.default_rng(0)
    credence = np.clip(sigmoid((steps - 1800) / 180) + 0.002 * rng.standard_normal(len(steps)), 0, 1)
    seen = steps <= steps[np.argmax(credence >= level)]
    forecast = forecast_crossing(steps[seen], credence[seen])
    assert forecast.step == pytest.approx(1800, rel=tolerance)
    assert forecast.low <= 0.75 * forecast.step
    assert forecast.high >= 1.25 * forecast.step
    assert forecast.low <= 1800 <= forecast.high


def test_forecast_of_a_run() -> None:
    steps = np.arange(0, 1251, 25)
    tracker = LandscapeTracker(STRATA)
    for step in steps.tolist():
        tracker.update(step, np.where(STRATA == 0, sigmoid((step - 40) / 10), sigmoid((step - 1500) / 150)))
    forecast = forecast_generalisation(tracker.trajectory, chance=0.02)
    assert forecast.step == pytest.approx(1500, rel=0.15)


def test_forecasts_that_cannot_be_made_say_why() -> None:
    tracker = LandscapeTracker(STRATA)
    tracker.update(0, np.full(512, 0.02))
    assert "train credence has not reached 0.9" in forecast_generalisation(tracker.trajectory, 0.02).reason
    tracker.update(1, np.where(STRATA == 0, 1.0, 0.02))
    assert "only several runs can tell" in forecast_generalisation(tracker.trajectory, 0.02).reason
    steps = np.arange(10.0)
    assert "not rising" in forecast_crossing(steps, np.full(10, 0.3)).reason
    assert "needs 4 evaluations" in forecast_crossing(steps[:2], np.array([0.1, 0.2])).reason
    assert math.isnan(forecast_crossing(steps[:2], np.array([0.1, 0.2])).step)
