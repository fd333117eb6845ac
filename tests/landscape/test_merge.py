# SPDX-License-Identifier: Apache-2.0
"""Several runs as one graph."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.watched_runs import watched
from oracles.credence_paths import PROBES
from scipy.cluster import hierarchy

from lightning_monocon.landscape import LandscapeTracker, first_passage, garwood_interval, merge_runs
from lightning_monocon.landscape.merge import match_states


def test_runs_of_one_probe_merge_state_by_state() -> None:
    runs = [watched(1200.0), watched(1500.0), watched(stop=900)]
    merged = merge_runs(runs)
    assert list(merged.edges) == [(0, 1)]
    assert (merged.graph["coarse"], merged.graph["runs"]) == (False, 3)
    assert [merged.nodes[s]["runs"] for s in (0, 1)] == [3, 2]
    assert merged.nodes[0]["visited_by"] == "0,1,2"
    dwell = sum(run.graph().nodes[0]["dwell"] for run in runs)
    assert merged.nodes[0]["dwell"] == dwell
    assert (merged.edges[0, 1]["rate_low"], merged.edges[0, 1]["rate_high"]) == garwood_interval(2, dwell)[::2]


@pytest.mark.parametrize("seed", range(3))
def test_states_are_joined_by_single_linkage(seed: int) -> None:
    rng = np.random.default_rng(seed)
    runs = [LandscapeTracker([0] * 4 + [1] * 4, eps_out=0.27) for _ in range(4)]
    for run in runs:
        run.clustering.anchors = list(rng.random((5, 8)).astype(np.float32))
    anchors = np.concatenate([run.clustering.anchors for run in runs])
    gaps = np.abs(anchors[:, None] - anchors[None])
    distances = np.maximum(gaps[..., :4].mean(-1), gaps[..., 4:].mean(-1))
    tree = hierarchy.linkage(distances[np.triu_indices(20, 1)], method="single")
    expected = hierarchy.fcluster(tree, 0.27, criterion="distance")
    found = [state for place in match_states(runs, coarse=False) for state in place]
    assert 1 < len(set(found)) < 20
    assert len(set(zip(found, expected, strict=True))) == len(set(found)) == len(set(expected))
    assert list(dict.fromkeys(found)) == list(range(len(set(found))))  # numbered as they are met


def test_runs_of_different_probes_merge_coarsely() -> None:
    merged = merge_runs([watched(probe="a"), watched(probe="b")])
    assert merged.graph["coarse"]
    assert merged.number_of_nodes() == 2


def test_first_passage_censors_the_runs_that_never_grok() -> None:
    runs = [watched(1200.0), watched(1500.0), watched(stop=900)]
    passage = first_passage(runs)
    left = [next(e.step_left for e in run.events if e.kind == "grokking") for run in runs[:2]]
    np.testing.assert_array_equal(passage.steps[-2:], left)
    np.testing.assert_allclose(passage.survival[-2:], [0.5, 0.0])  # the censored run left the risk set at 875
    assert passage.median == left[0]
    assert math.isnan(first_passage(runs[2:]).median)


def test_runs_that_measure_credence_differently_are_kept_apart() -> None:
    """Not even coarsely: a class score of 0.9 and a vote of 0.9 are not the same belief."""
    with pytest.raises(ValueError, match=r"measure credence alike, .*; got logits in 0, 2; an unknown measure in 1\."):
        merge_runs([watched(measure="logits"), watched(), watched(measure="logits")])
    assert merge_runs([watched(measure="logits"), watched(1200.0, measure="logits")]).graph["runs"] == 2


def test_runs_must_share_their_strata() -> None:
    other = LandscapeTracker(np.repeat(["train", "held_out"], PROBES // 2))
    with pytest.raises(
        ValueError,
        match=r"must have the same strata; got train, val in 0; held_out, train in 1\. Merge the runs",
    ):
        merge_runs([watched(), other])
