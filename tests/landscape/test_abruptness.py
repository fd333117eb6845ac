# SPDX-License-Identifier: Apache-2.0
"""Abruptness and exits on hand-made paths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape.abruptness import REST, Axis, abruptness
from lightning_monocon.landscape.profiles import Point
from lightning_monocon.landscape.strata import Strata, parse_strata


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


def test_a_drift_is_not_abrupt() -> None:
    drift = _path([i / 60 for i in range(61)])
    axis = Axis(_strata(), drift[10].profile, drift[50].profile)
    assert abruptness(drift, drift[25].step, drift[45].step, axis) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("rise", [1, 4, 16])
def test_from_rest_it_tells_how_fast_the_change_was(rise: int) -> None:
    still = _path([0.0] * 20 + [i / rise for i in range(1, rise)] + [1.0] * 20)
    got = abruptness(still, still[20].step, still[19 + rise].step, Axis(_strata(), still[0].profile, still[-1].profile))
    low, high = max(i for i in range(rise) if i / rise <= 0.2), min(i for i in range(rise + 1) if i / rise >= 0.8)
    assert got == pytest.approx(0.6 / (0.1 * (high - low)) / REST)


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
