# SPDX-License-Identifier: Apache-2.0
"""Recorded runs replayed: the right states and events, with the abruptness and the timing they must have."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.watched_runs import replay

from lightning_monocon.landscape.theory import forecast_crossing

EXPECTED = {
    "grok_sq_s0": ["memorisation", "grokking"],
    "supcon_p47_s0": ["memorisation", "grokking"],
    "ungrok_sq_s0": ["memorisation", "grokking", "forgetting"],
    "corrupt_sq_s0": ["memorisation", "partial"],
    "control_frac12_s10": ["memorisation"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_changes_of_state(shared_data: Path, name: str) -> None:
    tracker = replay(shared_data, name)
    assert [event.kind for event in tracker.events if event.is_transition] == EXPECTED[name]
    assert not tracker.unresolvable


@pytest.mark.parametrize("name", [n for n, kinds in EXPECTED.items() if "grokking" in kinds])
def test_grokking_is_abrupt_and_dated(shared_data: Path, name: str) -> None:
    tracker = replay(shared_data, name)
    (event,) = [event for event in tracker.events if event.kind == "grokking"]
    crossing = tracker.trajectory.crossing("credence/val", 0.5)
    assert event.step_left == pytest.approx(crossing, rel=0.2)
    assert event.abruptness >= 3
    assert event.change["val"] > 0.9


def test_the_slow_run_is_less_abrupt_than_any_that_groks(shared_data: Path) -> None:
    def abruptness(name: str) -> float:
        return max(e.abruptness for e in replay(shared_data, name).events if e.kind in ("grokking", "partial"))

    assert abruptness("corrupt_sq_s0") < min(abruptness("grok_sq_s0"), abruptness("supcon_p47_s0"))


@pytest.mark.parametrize("name", ["grok_sq_s0", "ungrok_sq_s0"])
@pytest.mark.parametrize(("level", "tolerance"), [(0.05, 0.45), (0.10, 0.20), (0.20, 0.15)])
def test_generalisation_is_forecast(shared_data: Path, name: str, level: float, tolerance: float) -> None:
    trajectory = replay(shared_data, name).trajectory
    steps, train, val = (trajectory.column(c) for c in ("step", "credence/train", "credence/val"))
    seen = (steps <= trajectory.crossing("credence/val", level) + 25) & (train.cumsum() > 1)
    forecast = forecast_crossing(steps[seen], val[seen])
    crossing = trajectory.crossing("credence/val", 0.5)
    assert forecast.step == pytest.approx(crossing, rel=tolerance)
    assert forecast.low <= crossing <= forecast.high


def test_fallibility_rises_before_it_falls(shared_data: Path) -> None:
    (event,) = [event for event in replay(shared_data, "grok_sq_s0").events if event.kind == "grokking"]
    assert event.barrier > 1.0  # the paper's first prediction, in nats
