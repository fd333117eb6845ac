# SPDX-License-Identifier: Apache-2.0
"""A partial generalisation that becomes whole in the same state is told, once."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.credence_paths import PROBES, STRATA

from lightning_monocon.landscape import Event, LandscapeTracker


def _follow(late: float, train: float = 0.98, cut: int | None = None, dip: int | None = None) -> LandscapeTracker:
    """A memoriser whose held-out credence jumps to 0.8 at step 100, and to ``late`` at step 200, inside that state."""
    tracker = LandscapeTracker(STRATA)
    for step in range(260):
        if step == cut:
            tracker, first = LandscapeTracker(STRATA), tracker
            tracker.load_state_dict(first.state_dict())
        held_out = 0.02 if step < 100 else 0.8 if step < 200 or step == dip else late
        means = (0.02 if step < 3 else 0.98 if step < 200 else train, held_out)
        tracker.update(step, np.repeat(means, PROBES // 2))
    return tracker


def test_it_is_told_once_at_the_third_evaluation() -> None:
    tracker = _follow(0.95)
    kinds = [event.kind for event in tracker.events if event.kind != "provisional"]
    assert kinds == ["memorisation", "partial", "completion"]
    partial, event = tracker.events[-2:]
    assert (event.source, event.target) == (partial.target, partial.target)
    assert (event.step_left, event.step_entered, event.step_confirmed) == (partial.step_left, 200, 202)
    assert not event.is_transition and "val 0.95 where train is 0.98" in event.reason
    assert event.thresholds == partial.thresholds
    assert Event.from_dict(event.to_dict()) == event
    assert tracker.graph().number_of_edges() == 2, "no change of state"


@pytest.mark.parametrize("cut", [199, 201, 202, 230])
def test_a_resumed_run_tells_the_same(cut: int) -> None:
    assert _follow(0.95, cut=cut).events == _follow(0.95).events


def test_a_fall_between_begins_the_count_again() -> None:
    (event,) = (event for event in _follow(0.95, dip=201).events if event.kind == "completion")
    assert (event.step_entered, event.step_confirmed) == (202, 204)


@pytest.mark.parametrize(("late", "train"), [(0.8, 0.98), (0.87, 0.98), (0.89, 0.89)])
def test_nothing_is_told_while_it_is_partial_or_train_has_fallen(late: float, train: float) -> None:
    assert "completion" not in {event.kind for event in _follow(late, train).events}
