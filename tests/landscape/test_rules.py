# SPDX-License-Identifier: Apache-2.0
"""Typing rules, abruptness and barriers on hand-made changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lightning_monocon.landscape.abruptness import Axis, abruptness
from lightning_monocon.landscape.barriers import barrier_height, semantic_barrier
from lightning_monocon.landscape.events import Event
from lightning_monocon.landscape.profiles import Point
from lightning_monocon.landscape.rules import Change, transition_kind
from lightning_monocon.landscape.strata import Strata, parse_strata
from lightning_monocon.landscape.trajectory import Trajectory

GROKKING: dict[str, Any] = {
    "train": (1.0, 1.0),
    "val": (0.02, 0.98),
    "train_at_exit": 1.0,
    "abruptness": 40.0,
    "delay": 20.0,
    "is_return": False,
    "has_source": True,
}


@pytest.mark.parametrize(
    ("difference", "kind"),
    [
        ({}, "grokking"),
        ({"delay": 4.0}, "comprehension"),
        ({"abruptness": 2.9}, "gradual_generalisation"),
        ({"abruptness": math.nan}, "gradual_generalisation"),
        ({"val": (0.02, 0.8)}, "partial"),
        ({"val": (0.02, 0.31)}, "jump"),
        ({"val": (0.02, 0.31), "abruptness": 1.0}, "drift"),
        ({"val": (0.98, 0.02)}, "forgetting"),
        ({"val": (0.98, 0.02), "is_return": True}, "forgetting"),
        ({"is_return": True}, "return"),
        ({"train": (0.02, 1.0), "val": (0.02, 0.1)}, "memorisation"),
        ({"train": (0.02, 1.0), "val": (0.02, 0.1), "has_source": False, "abruptness": math.nan}, "memorisation"),
        ({"train": (0.86, 1.0)}, "grokking"),
        ({"train": (0.02, 1.0), "train_at_exit": 0.02, "delay": 1.2}, "comprehension"),
        ({"train": (0.02, 1.0), "train_at_exit": 0.02}, "jump"),
        (
            {"train": (0.02, 1.0), "train_at_exit": 0.02, "has_source": False, "abruptness": math.nan},
            "gradual_generalisation",
        ),
    ],
)
def test_kind_of_a_change(difference: dict[str, Any], kind: str) -> None:
    got, reason = transition_kind(Change(**{**GROKKING, **difference}))
    assert got == kind
    assert reason


def _strata() -> Strata:
    return parse_strata([0] * 4 + [1] * 4)


def _path(levels: list[float]) -> list[Point]:
    """Points whose validation credence follows ``levels`` at steps e^0.1, e^0.2, ... - 1: even in log-time."""
    profile = np.zeros((len(levels), 8), dtype=np.float32)
    profile[:, 4:] = np.array(levels)[:, None]
    return [Point(math.expm1(0.1 * (i + 1)), row) for i, row in enumerate(profile)]  # type: ignore[arg-type]


def test_abruptness_is_the_ratio_of_speeds() -> None:
    inside = [0.0, 0.01] * 10  # 10 block medians that do not move, so the speed is that of the target
    path = _path([*inside, 0.5, *(1.0 + 0.002 * i for i in range(20))])
    axis = Axis(_strata(), path[0].profile, path[21].profile)
    rising = 0.6 * 1.0 / 0.2  # from the last point below 20 % to the first above 80 %: two intervals of 0.1
    drifting = 0.002 / 0.1
    entered = path[21].step
    got = abruptness(path[20:], path[20].step, entered, axis)
    assert math.isnan(got)  # the rise is not covered
    got = abruptness(path[19:], path[20].step, entered, axis)
    # block times are logs of mean steps, a little off the mean log: 1 %
    assert got == pytest.approx(rising / drifting, rel=0.02)


def test_a_drift_is_not_abrupt_and_rest_is_capped() -> None:
    drift = _path([i / 60 for i in range(61)])
    axis = Axis(_strata(), drift[10].profile, drift[50].profile)
    assert abruptness(drift, drift[25].step, drift[45].step, axis) == pytest.approx(1.0, rel=0.1)
    still = _path([0.0] * 20 + [1.0] * 20)
    assert (
        abruptness(still, still[20].step, still[20].step, Axis(_strata(), still[0].profile, still[-1].profile)) == 1e3
    )


def test_barrier_is_the_climb_above_the_lowest_point() -> None:
    trajectory = Trajectory(("train", "val"))
    surprises = [9.0, 6.0, 4.0, 5.0, 7.0, 1.0, 0.1]
    states: list[int | None] = [None, 0, 0, 0, None, 1, 1]
    for step, (state, surprise) in enumerate(zip(states, surprises, strict=True)):
        trajectory.append(step, state, [1.0, 0.0, 0.0, surprise, 0.0, 0.0, 0.0, 0.0])
    assert semantic_barrier(trajectory, source=0, entered=5) == pytest.approx(7.0 - 4.0)
    assert math.isnan(semantic_barrier(trajectory, source=None, entered=5))
    assert barrier_height(np.array([3.0, 2.0, 1.0])) == 0.0


def test_crossings_are_interpolated() -> None:
    trajectory = Trajectory(("train", "val"))
    for step, value in [(0, 0.0), (10, 0.4), (20, 0.8)]:
        trajectory.append(step, None, [value, *[0.0] * 7])
    assert trajectory.crossing("credence/train", 0.5) == pytest.approx(12.5)
    assert math.isnan(trajectory.crossing("credence/val", 0.5))


def test_events_survive_json_and_compare_by_value() -> None:
    event = Event("grokking", 5, 6, 7, 0, 1, abruptness=float("nan"), change={"val": 0.9})
    plain = event.to_dict()
    assert plain["abruptness"] is None
    assert Event.from_dict(plain) == event
    assert event != Event("grokking", 5, 6, 8, 0, 1)
    with pytest.raises(ValueError, match="`kind` must be one of 'memorisation', 'grokking'"):
        Event("miracle")


@pytest.mark.parametrize(
    ("levels", "position"),
    [
        ([0.0, 0.5, 0.1, 0.4, 0.9, 1.0], 1),  # halfway at once
        ([0.0, 0.45, 0.1, 0.45, 0.9, 1.0], 3),  # left, brushed, left for good
        ([0.0, 0.45, 0.9, 0.1, 0.9, 1.0], 1),  # what comes after halfway cannot postpone the exit
    ],
)
def test_a_state_is_left_at_the_last_exit_before_halfway(levels: list[float], position: int) -> None:
    path = _path(levels)
    axis = Axis(_strata(), path[0].profile, path[-1].profile)
    assert axis.exit(path[1:], outer=0.3) == path[position].step
