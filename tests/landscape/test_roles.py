# SPDX-License-Identifier: Apache-2.0
"""Strata play roles: by name, by the user's choice, and several at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightning_monocon.landscape import LandscapeTracker, merge_runs
from lightning_monocon.landscape.graph import role_mean
from lightning_monocon.landscape.roles import Roles, parse_roles


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "val"], Roles(("train",), ("val",))),
        (["train/a", "train/b", "val/a"], Roles(("train/a", "train/b"), ("val/a",))),
        (["train/right", "train/wrong", "val"], Roles(("train/right",), ("val",), ("train/wrong",))),
        (["seen", "unseen"], Roles()),
    ],
)
def test_the_names_of_the_sets_are_roles(names: list[str], expected: Roles) -> None:
    assert parse_roles(None, names) == expected


def test_the_mean_of_a_role_weighs_its_strata_alike() -> None:
    roles, values = Roles(("a", "c"), ("b",)), np.array([[0.0, 0.5, 1.0], [0.2, 0.3, 0.4]])
    np.testing.assert_allclose(roles.mean("train", ["a", "b", "c"], values), [0.5, 0.3])
    np.testing.assert_allclose(roles.mean("held_out", ["a", "b", "c"], values), [0.5, 0.3])
    assert np.isnan(Roles().mean("train", ["a", "b", "c"], values)).all()


@pytest.mark.parametrize(
    ("roles", "sentence"),
    [
        ({"validation": "b"}, "`roles` must name train or held_out; got 'validation'"),
        ({"train": "d"}, "`roles` must name strata of the probe: a, b; got 'd'"),
        ({"train": "a", "wrong": "d"}, "`roles` must name strata of the probe: a, b; got 'd'"),
        ({"train": "a", "held_out": ["a", "b"]}, "`roles` must give a stratum one role; got 'a' in both"),
        ({"train": "a", "held_out": []}, r"must give held_out at least one stratum; got \[\]. Name one, or leave"),
        ({"train": "", "held_out": ["b"]}, "must give train at least one stratum; got ''. Name one, or leave train"),
    ],
)
def test_bad_roles_are_named(roles: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        LandscapeTracker(["a"] * 3 + ["b"] * 3, roles=roles)


def _follow(roles: dict[str, Any] | None, names: tuple[str, str, str]) -> LandscapeTracker:
    """A run whose first stratum is learnt at step 10, the second at step 200; the third is never learnt."""
    tracker = LandscapeTracker(np.repeat(names, 4), roles=roles)
    for step in range(400):
        tracker.update(step, np.repeat([0.02 + 0.97 * (step > 10), 0.02 + 0.97 * (step > 200), 0.02], 4))
    return tracker


def test_events_follow_the_roles_and_not_the_names() -> None:
    by_role = _follow({"train": "seen", "held_out": ["new"]}, ("seen", "new", "noise"))
    by_name = _follow(None, ("train", "val", "noise"))
    assert [event.kind for event in by_role.events if event.is_transition] == ["memorisation", "grokking"]
    assert [(e.kind, e.step_left, e.reason) for e in by_role.events] == [
        (e.kind, e.step_left, e.reason) for e in by_name.events
    ]
    without = _follow(None, ("seen", "new", "noise"))
    assert {event.kind for event in without.events if event.is_transition} == {"jump"}


def test_several_held_out_strata_count_by_their_mean() -> None:
    tracker = _follow({"train": "seen", "held_out": ["new", "noise"]}, ("seen", "new", "noise"))
    assert [event.kind for event in tracker.events if event.is_transition] == ["memorisation", "partial"]
    assert tracker.trajectory.role("held_out")[-1] == pytest.approx((0.99 + 0.02) / 2)
    assert tracker.trajectory.role_crossing("held_out", 0.5) == pytest.approx(201, abs=1)


def test_the_barrier_is_that_of_the_held_out_stratum() -> None:
    tracker = LandscapeTracker(["a"] * 3 + ["b"] * 3, roles={"train": "a", "held_out": "b"})
    for step in range(400):
        held_out = 0.5 if step < 50 else 0.5 * np.exp(-2.0) if step < 60 else 0.99
        tracker.update(step, np.repeat([0.99, held_out], 3))
    (event,) = (event for event in tracker.events if event.is_transition and event.source is not None)
    assert event.barrier == pytest.approx(2.0, abs=0.01)


def test_runs_with_other_roles_are_not_merged() -> None:
    names = ("seen", "new", "noise")
    one, other = (_follow({"train": "seen", "held_out": held_out}, names) for held_out in ("new", "noise"))
    with pytest.raises(ValueError, match=r"must give the strata the same roles; got .*'held_out': 'new'\} in a "):
        merge_runs([one, other], ["a", "b"])
    merged = merge_runs([one, one])
    assert merged.graph["held_out"] == "new"
    assert role_mean(merged, 0, "held_out", "credence") == merged.nodes[0]["credence/new"]
