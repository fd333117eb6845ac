# SPDX-License-Identifier: Apache-2.0
"""The emergence of groups."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.emergence import EmergenceDetector


def _groups(count: int, size: int) -> dict[str, np.ndarray]:
    return {f"g{i}": np.arange(i * size, (i + 1) * size) for i in range(count)}


def test_emergence_needs_three_evaluations_in_a_row() -> None:
    detector = EmergenceDetector(_groups(2, 10), chance=0.1)
    levels = [0.1, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9]
    found = [(s, e) for s, v in enumerate(levels) for e in detector.update(s, np.repeat([v, 0.1], 10))]
    assert found == [(5, ("g0", 3))]
    assert math.isnan(detector.spread())


def test_emergence_must_beat_chance() -> None:
    detector = EmergenceDetector(_groups(2, 4), chance=0.5)
    assert [detector.update(s, np.full(8, 0.55)) for s in range(3)][-1] == []  # 4 of 4 at chance 1/2: p = 0.06


def test_spread_is_the_coefficient_of_variation() -> None:
    detector = EmergenceDetector(_groups(2, 10), chance=0.1)
    for step in range(1, 10):
        detector.update(10 * step, np.repeat([0.9, 0.9 if step > 2 else 0.1], 10))
    assert detector.emerged == {"g0": 10, "g1": 30}
    assert detector.spread() == pytest.approx(np.std([10, 30], ddof=1) / 20)


def test_the_tracker_reports_groups_of_its_validation_stratum() -> None:
    strata, groups = np.repeat([0, 1], 20), np.tile(np.repeat([3, 7], 10), 2)
    tracker = LandscapeTracker(strata, groups=groups)
    for step in range(12):
        tracker.update(step, np.where((strata == 0) | ((groups == 7) & (step >= 5)), 0.9, 0.02))
    (event,) = [event for event in tracker.events if event.kind == "emergence"]
    assert (event.group, event.step_entered, event.step_confirmed) == ("7", 5, 7)
