# SPDX-License-Identifier: Apache-2.0
"""The noise floor widens the radii, and makes a probe unresolvable."""

from __future__ import annotations

import pytest
from helpers.watched_runs import follow
from oracles.credence_paths import null, planted


def test_too_noisy_a_probe_is_unresolvable() -> None:
    tracker = follow(planted(0, noise=0.25, steps=200).credence)
    assert tracker.unresolvable
    assert [event.kind for event in tracker.events] == ["unresolvable"]
    assert "noise floor" in tracker.events[0].reason
    graph = tracker.graph()
    assert graph.number_of_nodes() == 0
    assert graph.graph["unresolvable"]


def test_noise_widens_the_radii() -> None:
    thresholds = follow(null("iid", seed=0, steps=60)).graph().graph
    assert thresholds["noise"] == pytest.approx(0.113, abs=0.01)  # E|N(0, 0.1) - N(0, 0.1)| = 0.2 / sqrt(pi)
    assert thresholds["eps_in"] == pytest.approx(1.2 * thresholds["noise"])
    assert thresholds["eps_out"] == pytest.approx(0.30)
