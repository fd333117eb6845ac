# SPDX-License-Identifier: Apache-2.0
"""Overfitting and memorised noise are seen by the fallibility: planted runs, and those that must not pass for it."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.events import FALLIBLE
from lightning_monocon.landscape.noise_watch import Levels, NoiseWatch

HALF = 100
_NOISY = ["train/right"] * HALF + ["val"] * HALF + ["train/wrong"] * 20


def _run(
    wrong: float, sure: float, *, train_end: float = 0.99, learnt: float = 0.8, noise: tuple[float, float] | None = None
) -> LandscapeTracker:
    """A run that learns, and from step 200 makes a share of the held-out answers wrong, with certainty ``1 - sure``.

    With ``noise`` it has 20 samples with wrong labels besides, whose credence goes from one number to the other.
    """
    names = ["train"] * HALF + ["val"] * HALF if noise is None else _NOISY
    tracker = LandscapeTracker(names)
    lost = np.arange(HALF) < wrong * HALF
    for step in range(400):
        late = np.clip((step - 200) / 100, 0, 1)
        before = 0.1 + (learnt - 0.1) * (step >= 20)
        train = np.full(HALF, before + late * (train_end - before))
        held_out = np.where(lost, before * (sure / before) ** late, before + late * (0.97 - before))
        taken = [] if noise is None else [np.full(20, noise[0] + late * (noise[1] - noise[0]))]
        tracker.update(step, np.concatenate([train, held_out, *taken]))
    return tracker


def _kinds(tracker: LandscapeTracker) -> list[str]:
    return [event.kind for event in tracker.events if event.kind != "provisional"]


def test_it_is_seen_where_the_mean_credence_hardly_moves() -> None:
    tracker = _run(wrong=0.15, sure=1e-3)
    (event,) = (event for event in tracker.events if event.kind in FALLIBLE)
    assert event.kind == "overfitting", "nothing says that labels are wrong"
    column = tracker.trajectory.column("credence/val")
    assert abs(column[-1] - column[190]) < 0.05
    assert not event.is_transition
    assert event.source == event.target is not None
    assert (event.step_left or 0) < 200 + 100 < (event.step_confirmed or 0) + 60
    assert "held-out fallibility +0.5 nats" in event.reason
    assert "no stratum has the role wrong" in event.reason


@pytest.mark.parametrize(
    "options",
    [
        {"wrong": 0.02, "sure": 1e-3},  # 0.02 * 6.7 nats: too little
        {"wrong": 0.15, "sure": 1e-3, "train_end": 0.7},  # the train fallibility rises too
        {"wrong": 0.15, "sure": 1e-5, "learnt": 0.15},  # nothing had been learnt that could be lost
    ],
)
def test_it_is_not_seen_where_a_condition_fails(options: dict[str, float]) -> None:
    assert not {*FALLIBLE} & {*_kinds(_run(**options))}


@pytest.mark.parametrize(
    ("noise", "kind"),
    [
        ((0.05, 0.95), "noise_memorisation"),  # another state
        ((0.05, 0.25), "noise_memorisation"),  # the state stays, and 1.6 nats are learnt
        ((0.05, 0.07), "overfitting"),  # 0.3 nats
        ((0.97, 0.99), "overfitting"),  # they were known before, so that something else is learnt
        ((0.3, 0.05), "overfitting"),  # they are unlearnt
    ],
)
def test_wrong_labels_tell_noise_from_overfitting(noise: tuple[float, float], kind: str) -> None:
    tracker = _run(wrong=0.15, sure=1e-3, noise=noise)
    assert [each for each in _kinds(tracker) if each in FALLIBLE][:1] == [kind]
    assert not {*FALLIBLE} - {kind} & {*_kinds(tracker)}


def test_wrong_labels_are_learnt_in_a_change_of_state_without_any_loss() -> None:
    tracker = _run(wrong=0.0, sure=1.0, noise=(0.05, 0.95))
    changes = [event for event in tracker.events if event.is_transition]
    assert changes[-1].kind == "noise_memorisation"
    assert changes[-1].change["train/wrong"] == pytest.approx(0.9, abs=0.1)
    assert changes[-1].step_left is not None and 200 < changes[-1].step_left < 300


def test_a_watch_of_an_earlier_release_resumes() -> None:
    watch = NoiseWatch()
    watch.load_state_dict({"start": 0.1, "lowest": [5, 0.9, 0.5, 0.6], "streak": [2, 7], "is_told": False})
    watch.update(9, Levels(0.5, 1.5, 0.6))
    assert watch.is_rising and (watch.since, watch.first, watch.kind) == (5, 7, "overfitting")


def test_a_change_of_state_takes_its_name() -> None:
    tracker = _run(wrong=0.4, sure=1e-3, learnt=0.6)  # train credence +0.39: another state
    changes = [event for event in tracker.events if event.is_transition]
    assert changes[-1].kind == "overfitting"
    assert changes[-1].source != changes[-1].target


def test_a_rise_is_told_once() -> None:
    watch, told = NoiseWatch(), 0
    held_out = [1.0, *[0.5] * 3, *[2.0] * 10, *[0.9] * 3, *[2.0] * 10, *[0.6] * 3, *[2.0] * 10]
    for step, value in enumerate(held_out):
        watch.update(step, Levels(1 / (step + 1), value, 0.1 if step == 0 else 0.9))
        if watch.is_rising and not watch.is_told:
            watch.is_told, told = True, told + 1
    assert told == 2  # 0.9 is a rise of 0.4 that still lasts, 0.6 one of 0.1 that is over


def test_one_high_evaluation_is_a_spike() -> None:
    watch = NoiseWatch()
    for step, value in enumerate([0.5, 2.0, 0.5, 2.0, 2.0, 0.5]):
        watch.update(step, Levels(1 / (step + 1), value, 0.1 * step + 0.5))
        assert not watch.is_rising
