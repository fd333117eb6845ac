# SPDX-License-Identifier: Apache-2.0
"""The record of a run."""

from __future__ import annotations

import math

import pytest

from lightning_monocon.landscape.trajectory import Trajectory


def test_crossings_are_interpolated() -> None:
    trajectory = Trajectory(("train", "val"))
    for step, value in [(0, 0.0), (10, 0.4), (20, 0.8)]:
        trajectory.append(step, None, [value, *[0.0] * 7])
    assert trajectory.crossing("credence/train", 0.5) == pytest.approx(12.5)
    assert math.isnan(trajectory.crossing("credence/val", 0.5))
