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


def test_a_record_of_an_earlier_release_lacks_the_later_columns() -> None:
    trajectory, again = Trajectory(("train", "val")), Trajectory(("train", "val"))
    trajectory.append(3, None, [0.1, 0.2, 1.0, 2.0, 0.0, 0.0, 9.0, 8.0, 1.5, 7.0])
    stored = trajectory.state_dict()
    again.load_state_dict({**stored, "values": stored["values"][:, :8]})
    assert again.column("participation_ratio").tolist() == [8.0]
    assert math.isnan(again.column("alpha_req")[0])
    assert math.isnan(again.column("n99")[0])
    again.load_state_dict(stored)
    assert again.values == trajectory.values
