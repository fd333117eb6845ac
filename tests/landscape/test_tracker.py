# SPDX-License-Identifier: Apache-2.0
"""The tracker on planted truths and nulls: states, jumps, refusal, resume, and bad input."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from helpers.watched_runs import follow
from oracles.credence_paths import PROBES, STRATA, Planted, grokking, null, planted, sigmoid

from lightning_monocon.landscape import Event, LandscapeTracker


def _moves(tracker: LandscapeTracker) -> list[Event]:
    return [event for event in tracker.events if event.is_transition and event.source is not None]


def _score(tracker: LandscapeTracker, truth: Planted) -> tuple[float, float]:
    """Recall of the true jumps into stays of 5 steps or more, and precision of the events; both within 6 steps."""
    found = tracker.trajectory.column("state").astype(int)
    names = {s: int(np.bincount(truth.states[found == s]).argmax()) for s in set(found.tolist()) - {-1}}
    events = [(event.step_entered, names[event.target]) for event in _moves(tracker)]
    stays = [(t, b) for t, _, b in truth.jumps if t + 5 < len(found) and (truth.states[t : t + 5] == b).all()]
    hits = [any(abs(step - t) <= 6 and to == b for step, to in events) for t, b in stays]
    true = [any(abs(step - t) <= 6 and to == b for t, _, b in truth.jumps) for step, to in events]
    return float(np.mean(hits)), float(np.mean(true))


def _check_planted(seeds: range) -> None:
    exact, recall, precision = 0, [], []
    for seed in seeds:
        truth = planted(seed)
        tracker = follow(truth.credence, max_window=30)
        exact += tracker.graph().number_of_nodes() == 4
        score = _score(tracker, truth)
        recall.append(score[0])
        precision.append(score[1])
    assert exact >= 10 * len(seeds) / 12
    assert np.mean(recall) >= 0.85
    assert np.mean(precision) >= 0.95


def test_planted_states_are_found() -> None:
    _check_planted(range(3))


@pytest.mark.slow
def test_planted_states_are_found_in_twelve_simulations() -> None:
    _check_planted(range(12))


def test_independent_noise_gives_one_state_and_no_event() -> None:
    tracker = follow(null("iid", seed=0))
    assert tracker.graph().number_of_nodes() == 1
    assert tracker.events == []


@pytest.mark.parametrize("kind", ["linear", "log_time", "random_walk"])
def test_drift_gives_no_jump(kind: str) -> None:
    for event in _moves(follow(null(kind, seed=1, steps=900))):
        assert event.abruptness < 1.0
        assert not event.is_jump


def test_a_run_that_groks() -> None:
    steps = np.arange(0, 3001, 25)
    tracker = follow(grokking(steps.astype(float)), steps)
    kinds = [event.kind for event in tracker.events if event.is_transition]
    assert kinds == ["memorisation", "grokking"]
    event = _moves(tracker)[-1]
    crossing = tracker.trajectory.crossing("credence/val", 0.5)
    assert 0.8 * crossing <= event.step_left <= 1.2 * crossing
    assert event.step_left < event.step_entered < event.step_confirmed
    assert event.abruptness >= 3
    assert event.change["val"] > 0.9
    assert abs(event.change["train"]) < 0.1
    assert set(event.thresholds) == {"eps_in", "eps_out", "noise"}


@pytest.mark.parametrize("top", [0.85, 0.97])  # below and above the credence that counts as memorised
def test_what_rises_everywhere_at_once_is_acquired(top: float) -> None:
    steps = np.arange(0, 3001, 25)
    rise = 0.02 + (top - 0.02) * sigmoid((steps[:, None] - 1500) / 60)
    tracker = follow(np.broadcast_to(rise, (len(steps), PROBES)), steps)
    (event,) = (event for event in tracker.events if event.is_transition)
    assert event.kind == "acquisition"
    assert event.step_left == pytest.approx(1500, rel=0.1)


def test_a_provisional_event_comes_first() -> None:
    steps = np.arange(0, 3001, 25)
    tracker = follow(grokking(steps.astype(float)), steps)
    provisional, confirmed = tracker.events[-2:]
    assert (provisional.kind, provisional.target, provisional.step_confirmed) == ("provisional", None, None)
    assert provisional.step_left == confirmed.step_left


@pytest.mark.parametrize(("away", "settled_by"), [(4, ["instability"]), (60, ["grokking"]), (0, [])])
def test_a_provisional_event_is_settled_by_the_next_line(away: int, settled_by: list[str]) -> None:
    """A memoriser leaves its state and comes back, settles in another one, or ends on its way out."""
    last = 80 + (away or 2) + (away == 4) * 60
    tracker = LandscapeTracker(STRATA)
    for step in range(last):
        held_out = 0.98 if 80 <= step < 80 + (away or 2) else 0.02
        tracker.update(step, np.where(np.arange(PROBES) < PROBES // 2, 0.98, held_out))
    kinds = [event.kind for event in tracker.events]
    assert kinds[kinds.index("provisional") + 1 :] == settled_by


@pytest.mark.parametrize("cut", [1, 3, 17, 60, 75, 100])
def test_interrupted_and_resumed_equals_uninterrupted(cut: int) -> None:
    steps = np.arange(0, 3001, 25)
    credence = grokking(steps.astype(float))
    options: dict[str, Any] = {"groups": np.arange(PROBES) % 5, "probe": "abc"}
    whole, first, second = (LandscapeTracker(STRATA, **options) for _ in range(3))
    for position, (step, profile) in enumerate(zip(steps, credence, strict=True)):
        tracker = first if position < cut else second
        if position == cut:
            buffer = io.BytesIO()
            torch.save(first.state_dict(), buffer)
            buffer.seek(0)
            second.load_state_dict(torch.load(buffer, weights_only=True))
        rank = 80.0 if step < 2000 else 30.0
        expected = whole.update(int(step), profile, effective_rank=rank)
        assert tracker.update(int(step), profile, effective_rank=rank) == expected
    assert second.events == whole.events
    assert second.graph().nodes(data=True) == whole.graph().nodes(data=True)
    assert any(event.kind == "grokking" for event in second.events)


def test_another_probe_is_refused_on_resume() -> None:
    state = LandscapeTracker(STRATA, probe="abc").state_dict()
    with pytest.raises(ValueError, match="must come from a tracker with probe 'xyz', got 'abc'"):
        LandscapeTracker(STRATA, probe="xyz").load_state_dict(state)


def test_tensors_and_lists_are_taken_alike() -> None:
    profile = torch.rand(PROBES, generator=torch.Generator().manual_seed(0))
    by_tensor, by_list = LandscapeTracker(torch.from_numpy(STRATA)), LandscapeTracker(["train"] * 256 + ["val"] * 256)
    by_tensor.update(1, profile)
    by_list.update(1, profile.tolist())
    assert by_tensor.trajectory.values == by_list.trajectory.values


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"strata": []}, r"`strata` must hold one label per probe"),
        ({"strata": [0, 0, 0]}, "must name at least two strata"),
        ({"strata": [0, 0, 0, 1, 1]}, "at least 3 probes, got 2 for group '1'"),
        ({"groups": [0, 1]}, r"`groups` must hold 512 labels, one per probe; got shape \(2,\)"),
        ({"groups": np.arange(PROBES) // 2}, "`groups` must give every group at least 3 probes, got 2"),
        ({"eps_in": 0.4}, "0 < eps_in < eps_out < 1, got 0.4 and 0.3"),
        ({"window": 1.5}, "`window` must lie between 0 and 1"),
        ({"max_window": 0}, "`max_window` must be at least 1 step"),
        ({"groups": np.arange(PROBES) % 2, "chance": 0.0}, "`chance` must lie between 0 and 1"),
    ],
)
def test_bad_construction_is_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        LandscapeTracker(**{"strata": STRATA, **options})


@pytest.mark.parametrize(
    ("step", "value", "sentence"),
    [
        (5, 0.5, "`step` must increase from one evaluation to the next, and not be negative; got 5 after 5"),
        (6, 1.5, r"must hold probabilities between 0 and 1, got 1.5 \(512 of 512 are wrong\)"),
        (6, -0.5, "must hold probabilities between 0 and 1, got -0.5"),
        (6, float("nan"), "must hold probabilities between 0 and 1, got nan"),
    ],
)
def test_bad_updates_are_named(step: int, value: float, sentence: str) -> None:
    tracker = LandscapeTracker(STRATA)
    tracker.update(5, np.full(PROBES, 0.5))
    with pytest.raises(ValueError, match=sentence):
        tracker.update(step, np.full(PROBES, value))
    assert len(tracker.trajectory) == 1


def test_other_bad_updates_are_named() -> None:
    tracker = LandscapeTracker(STRATA)
    with pytest.raises(ValueError, match=r"`credence` must hold 512 values, one per probe; got shape \(3,\)"):
        tracker.update(1, [0.1, 0.2, 0.3])
    with pytest.raises(TypeError, match=r"`step` must be an integer, got 1\.5"):
        tracker.update(1.5, np.full(PROBES, 0.5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not be negative; got -1"):
        tracker.update(-1, np.full(PROBES, 0.5))
