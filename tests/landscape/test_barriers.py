# SPDX-License-Identifier: Apache-2.0
"""Barriers on a hand-made trajectory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape.barriers import barrier_height, semantic_barrier
from lightning_monocon.landscape.trajectory import Trajectory


def test_barrier_is_the_climb_above_the_lowest_point() -> None:
    trajectory = Trajectory(("train", "val"))
    surprises = [9.0, 6.0, 4.0, 5.0, 7.0, 1.0, 0.1]
    states: list[int | None] = [None, 0, 0, 0, None, 1, 1]
    for step, (state, surprise) in enumerate(zip(states, surprises, strict=True)):
        trajectory.append(step, state, [1.0, 0.0, 0.0, surprise, 0.0, 0.0, 0.0, 0.0])
    assert semantic_barrier(trajectory, source=0, entered=5) == pytest.approx(7.0 - 4.0)
    assert math.isnan(semantic_barrier(trajectory, source=None, entered=5))
    assert barrier_height(np.array([3.0, 2.0, 1.0])) == 0.0
