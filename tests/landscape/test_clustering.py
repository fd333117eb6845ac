# SPDX-License-Identifier: Apache-2.0
"""States found online: what is a spike, an excursion, a state seen before, as the tracker tells it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.watched_runs import follow
from oracles.credence_paths import PROBES, STRATA

from lightning_monocon.landscape import Event, LandscapeTracker


def _moves(tracker: LandscapeTracker) -> list[Event]:
    return [event for event in tracker.events if event.is_transition and event.source is not None]


def test_one_spike_and_one_excursion_are_instabilities() -> None:
    credence = np.tile(np.repeat([0.98, 0.97], PROBES // 2), (80, 1))
    credence[40] = 0.3
    credence[60:63] = 0.2
    events = follow(credence).events
    assert [(e.kind, e.step_left, e.step_entered) for e in events if e.kind != "provisional"] == [
        ("instability", 40, 41),
        ("instability", 60, 63),
    ]
    assert events[0].change["val"] == pytest.approx(-0.67, abs=1e-3)


def test_a_state_seen_before_is_recognised_at_once() -> None:
    high, low = np.full(PROBES, 0.98), np.where(STRATA == 0, 0.98, 0.02)
    credence = np.stack([low] * 20 + [high] * 20 + [low] * 5)
    tracker = follow(credence)
    assert [event.kind for event in _moves(tracker)] == ["grokking", "forgetting"]
    back = tracker.events[-1]
    assert (back.source, back.target, back.is_return, back.step_confirmed) == (1, 0, True, 42)
