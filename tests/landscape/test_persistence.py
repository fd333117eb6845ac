# SPDX-License-Identifier: Apache-2.0
"""The radii at which a state lives."""

from __future__ import annotations

import numpy as np
from helpers.watched_runs import follow
from oracles.credence_paths import grokking


def test_persistence_counts_the_radii_at_which_a_state_lives() -> None:
    steps = np.arange(0, 3001, 25)
    graph = follow(grokking(steps.astype(float)), steps).graph()
    assert [graph.nodes[state]["persistence"] for state in graph] == [1.0, 1.0]
