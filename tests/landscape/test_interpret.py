# SPDX-License-Identifier: Apache-2.0
"""Moves of the clustering become events, or none where nothing can be named."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.watched_runs import follow, watched
from oracles.credence_paths import grokking

from lightning_monocon.landscape.clustering import Move
from lightning_monocon.landscape.interpret import Record, delay_ratio, interpret
from lightning_monocon.landscape.profiles import Point
from lightning_monocon.landscape.strata import Profile, parse_strata
from lightning_monocon.landscape.trajectory import Trajectory
from lightning_monocon.landscape.visit import Visit

STRATA = parse_strata([0] * 4 + [1] * 4)


def _profile(train: float, val: float) -> Profile:
    return np.repeat([train, val], 4).astype(np.float32)


def _record(*profiles: Profile) -> Record:
    """A run of these profiles, one a step, in no state so far."""
    trajectory, visit = Trajectory(STRATA.names), Visit()
    for step, profile in enumerate(profiles):
        visit.add(Point(step, profile))
        trajectory.append(step, None, [*STRATA.means(profile).tolist(), *[0.0] * 6])
    return Record(STRATA, trajectory, visit, [profiles[0]], {"eps_out": 0.3})


def test_a_first_state_is_an_event_only_if_a_rule_names_it() -> None:
    memorised, risen = _profile(0.98, 0.02), _profile(0.30, 0.02)
    for profile, kinds in ((memorised, ["memorisation"]), (risen, [])):
        move = Move("enter", None, 5, None, 0, profile, is_new=True)
        event = interpret(move, 8, _record(_profile(0.02, 0.02), *[profile] * 8))
        assert [event.kind for event in (event,) if event is not None] == kinds


def test_a_state_that_is_left_is_provisional_until_another_is_confirmed() -> None:
    event = interpret(Move("leave", 3, None, 0, None, _profile(0.98, 0.52)), 4, _record(_profile(0.98, 0.02)))
    assert event is not None
    assert (event.kind, event.step_left, event.step_confirmed, event.target) == ("provisional", 3, None, None)
    assert event.change == pytest.approx({"train": 0.0, "val": 0.5}, abs=1e-3)


def test_the_delay_ratio_compares_two_crossings() -> None:
    trajectory = watched(generalised=1500.0).trajectory
    memorised = trajectory.crossing("credence/train", 0.9)
    assert delay_ratio(trajectory) == pytest.approx(1500.0 / memorised, rel=0.02)


def test_with_two_classes_half_is_learnt_at_three_quarters() -> None:
    """A run whose held-out credence begins at chance has not generalised there."""
    steps = np.arange(0, 3001, 25)
    credences = 0.5 + 0.5 * grokking(steps.astype(float), generalised=1500.0)
    tracker = follow(credences, steps, chance=0.5)
    assert [event.kind for event in tracker.events if event.is_transition] == ["memorisation", "grokking"]
    assert tracker.generalised == pytest.approx(1500.0, rel=0.02)
    assert delay_ratio(tracker.trajectory) == 0.0, "chance is above one half"
    assert delay_ratio(tracker.trajectory, 0.5) > 5
