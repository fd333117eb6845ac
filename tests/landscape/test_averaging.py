# SPDX-License-Identifier: Apache-2.0
"""An average over a few evaluations resolves what training by minibatches makes noisy, and nothing else changes."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import torch
from oracles.credence_paths import PROBES, STRATA, Floats, sigmoid

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.averaging import RecentProfiles
from lightning_monocon.landscape.noise import WAYS
from lightning_monocon.landscape.profiles import quantise
from lightning_monocon.landscape.strata import parse_strata

ADDED = ("recent", "noise_watch", "trendless", "way")


def log_steps(last: int) -> list[int]:
    """Steps at 45 evaluations a decade."""
    return sorted({int(step) for step in np.geomspace(1, last, int(45 * np.log10(last)))})


def minibatch_memoriser(steps: list[int], flicker: float = 1.0, seed: int = 0) -> Floats:
    """Credences ``(T, P)`` whose train half is memorised about step 400, each evaluation with other inputs ahead."""
    rng, log = np.random.default_rng(seed), np.log(steps)[:, None]
    level = 4.0 * (log - np.log(400)) + 0.5 * rng.standard_normal(PROBES // 2)
    noise = flicker * rng.standard_normal((len(steps), PROBES // 2)) / np.maximum(1, np.array(steps)[:, None] / 800)
    start = sigmoid(3 * (log - np.log(60)))  # at rest, nothing flickers
    train = 0.02 + 0.97 * start * sigmoid(level + noise)
    return np.hstack([train, np.full_like(train, 0.02)])


def _follow(steps: list[int], credence: Floats) -> LandscapeTracker:
    tracker = LandscapeTracker(STRATA)
    for step, profile in zip(steps, credence, strict=True):
        tracker.update(step, profile)
    return tracker


def test_memorising_by_minibatches_is_resolved() -> None:
    steps = log_steps(6000)
    tracker = _follow(steps, minibatch_memoriser(steps))
    kinds = [event.kind for event in tracker.events if event.kind not in ("provisional", "instability")]
    assert kinds == ["memorisation"]
    (event,) = (event for event in tracker.events if event.kind == "memorisation")
    raw = [abs(b - a).mean() for a, b in itertools.pairwise(minibatch_memoriser(steps)[:, : PROBES // 2])]
    assert max(np.convolve(raw, np.ones(25) / 25, "valid")) > 0.15  # single evaluations are too noisy
    assert event.step_left == pytest.approx(tracker.trajectory.crossing("credence/train", 0.3), rel=0.25)


@pytest.mark.parametrize("width", [1, 3, 5])
def test_the_noise_of_independent_profiles_is_that_of_their_distance(width: int) -> None:
    rng, strata = np.random.default_rng(0), parse_strata(STRATA)
    recent, found, apart = RecentProfiles(), [], []
    for _ in range(40):
        recent.add(quantise(0.5 + 0.1 * rng.standard_normal(PROBES)))
        found += [recent.distances(strata)] if len(recent.profiles) > 1 else []
        apart.append(recent.average(width))
    noise = np.median(found, axis=0) / np.sqrt(width)
    expected = np.median([strata.distance(a, b) for a, b in zip(apart[width:], apart[:-width], strict=True)])
    np.testing.assert_allclose(noise, float(expected), rtol=0.06)


def test_a_fast_rise_is_no_noise() -> None:
    recent, strata = RecentProfiles(), parse_strata(STRATA)
    for level in (0.1, 0.4, 0.7, 0.7):
        recent.add(quantise(np.full(PROBES, level)))
        if level > 0.4:
            assert recent.distances(strata)[1] == pytest.approx(0.0, abs=1e-3)
    steps = [1, 10, *range(20, 2000, 20)]  # sparse evaluations of a fast memorisation
    train = 0.02 + 0.97 * np.clip((np.array(steps)[:, None] - 100) / 400, 0, 1) * np.ones(PROBES // 2)
    assert "unresolvable" not in {e.kind for e in _follow(steps, np.hstack([train, 0.02 + 0 * train])).events}


def test_interrupted_and_resumed_equals_uninterrupted_while_it_averages() -> None:
    steps = log_steps(6000)
    credence = minibatch_memoriser(steps)
    whole, cut = _follow(steps, credence), steps.index(min(step for step in steps if step > 560))
    assert whole.noise.way == WAYS[0]  # at the end it has calmed down
    first = _follow(steps[:cut], credence[:cut])
    assert first.noise.way.width > 1
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second = LandscapeTracker(STRATA)
    second.load_state_dict(torch.load(buffer, weights_only=True))
    assert second.noise.way == first.noise.way
    for step, profile in zip(steps[cut:], credence[cut:], strict=True):
        second.update(step, profile)
    assert second.events == whole.events


def test_the_state_of_an_earlier_release_is_read() -> None:
    steps = log_steps(300)
    first = _follow(steps, minibatch_memoriser(steps, flicker=0.0))
    state = {name: part for name, part in first.state_dict().items() if name not in ADDED}
    second = LandscapeTracker(STRATA)
    second.load_state_dict(state)
    second.update(301, np.full(PROBES, 0.02))
    assert second.trajectory.steps == [*steps, 301]
