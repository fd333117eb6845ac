# SPDX-License-Identifier: Apache-2.0
"""Garwood intervals, the graph of a run and the merging of several."""

from __future__ import annotations

import io
import json
import math
import warnings

import networkx as nx
import numpy as np
import pytest
from oracles.credence_paths import PROBES, STRATA, grokking
from scipy import optimize, stats

from lightning_monocon.landscape import LandscapeTracker, first_passage, garwood_interval, merge_runs


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
def test_garwood_bounds_are_the_poisson_tails(count: int) -> None:
    low, estimate, high = garwood_interval(count, 50.0)
    assert estimate == count / 50.0
    below = optimize.brentq(lambda m: stats.poisson.sf(count - 1, m) - 0.025, 1e-6, 100)
    above = optimize.brentq(lambda m: stats.poisson.cdf(count, m) - 0.025, 1e-6, 100)
    np.testing.assert_allclose([low * 50, high * 50], [below, above], rtol=1e-8)


@pytest.mark.parametrize("mean", [1.0, 2.0, 5.0, 10.0])
def test_garwood_covers(mean: float) -> None:
    """Exact coverage over Poisson counts is at least 0.95."""
    counts = np.arange(80)
    bounds = [garwood_interval(int(n), 1.0) for n in counts]
    covered = [b.low <= mean <= b.high for b in bounds]
    assert stats.poisson.pmf(counts, mean)[covered].sum() >= 0.95 - 1e-9


@pytest.mark.parametrize("exits", [1, 2, 3, 5, 10])
def test_garwood_covers_when_dwells_are_observed(exits: int) -> None:
    """With the number of exits fixed and the dwell random, coverage is .93 to .97; .971 at one exit, in closed form."""
    rng = np.random.default_rng(exits)
    dwell = rng.exponential(30.0, (4000, exits)).sum(axis=1)
    low, high = stats.chi2.ppf(0.025, 2 * exits) / 2, stats.chi2.ppf(0.975, 2 * exits + 2) / 2
    unit = garwood_interval(exits, 1.0)
    np.testing.assert_allclose([unit.low, unit.high], [low, high])
    # counts observed in a fixed time, continuous-time process: the coverage of the lower tail is exact
    assert (unit.low / dwell > 1 / 30).mean() == pytest.approx(0.025, abs=0.01)
    assert (unit.high / dwell < 1 / 30).mean() <= 0.025 + 0.01
    covered = ((unit.low / dwell <= 1 / 30) & (unit.high / dwell >= 1 / 30)).mean()
    exact = stats.chi2.cdf(stats.chi2.ppf(0.975, 2 * exits + 2), 2 * exits) - 0.025
    assert 0.93 <= exact <= (0.972 if exits == 1 else 0.97)
    assert covered == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(("count", "exposure"), [(-1, 1.0), (1, 0.0)])
def test_impossible_counts_are_named(count: int, exposure: float) -> None:
    with pytest.raises(ValueError, match="`count` must be >= 0, `exposure` > 0"):
        garwood_interval(count, exposure)


def _run(generalised: float = 1500.0, probe: str = "p", stop: int = 3001, measure: str = "") -> LandscapeTracker:
    tracker = LandscapeTracker(STRATA, probe=probe, measure=measure)
    steps = np.arange(0, stop, 25)
    for step, profile in zip(steps, grokking(steps.astype(float), generalised=generalised), strict=True):
        tracker.update(int(step), profile)
    return tracker


def test_graph_of_a_run() -> None:
    tracker = _run()
    graph = tracker.graph()
    assert list(graph.edges) == [(0, 1)]
    edge, memorised = graph.edges[0, 1], graph.nodes[0]
    assert edge["kinds"] == "grokking"
    assert edge["count"] == memorised["exits"] == 1
    assert (edge["rate_low"], edge["rate"], edge["rate_high"]) == tuple(garwood_interval(1, memorised["dwell"]))
    assert graph.nodes[1]["rate"] == 0.0
    assert graph.nodes[1]["rate_high"] == pytest.approx(3.689 / graph.nodes[1]["dwell"], rel=1e-3)
    states = tracker.trajectory.column("state")
    assert memorised["evaluations"] == (states == 0).sum()
    assert memorised["dwell"] == 25.0 * ((states == 0).sum() - 1)
    inside = tracker.trajectory.column("credence/val")[states == 0]
    assert memorised["credence/val"] == pytest.approx(inside.mean())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_graph_goes_through_graphml_and_json() -> None:
    graph = _run().graph()
    text = "\n".join(nx.generate_graphml(graph))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # networkx warns that XML from others is not to be trusted
        again = nx.read_graphml(io.BytesIO(text.encode()), node_type=int)
    assert again.nodes[0]["dwell"] == graph.nodes[0]["dwell"]
    assert again.edges[0, 1]["kinds"] == "grokking"
    json.loads(json.dumps(nx.node_link_data(graph, edges="links"), allow_nan=False))


def test_runs_of_one_probe_merge_state_by_state() -> None:
    runs = [_run(1200.0), _run(1500.0), _run(stop=900)]
    merged = merge_runs(runs)
    assert list(merged.edges) == [(0, 1)]
    assert (merged.graph["coarse"], merged.graph["runs"]) == (False, 3)
    assert [merged.nodes[s]["runs"] for s in (0, 1)] == [3, 2]
    assert merged.nodes[0]["visited_by"] == "0,1,2"
    dwell = sum(run.graph().nodes[0]["dwell"] for run in runs)
    assert merged.nodes[0]["dwell"] == dwell
    assert (merged.edges[0, 1]["rate_low"], merged.edges[0, 1]["rate_high"]) == garwood_interval(2, dwell)[::2]


def test_runs_of_different_probes_merge_coarsely() -> None:
    merged = merge_runs([_run(probe="a"), _run(probe="b")])
    assert merged.graph["coarse"]
    assert merged.number_of_nodes() == 2


def test_first_passage_censors_the_runs_that_never_grok() -> None:
    runs = [_run(1200.0), _run(1500.0), _run(stop=900)]
    passage = first_passage(runs)
    left = [next(e.step_left for e in run.events if e.kind == "grokking") for run in runs[:2]]
    np.testing.assert_array_equal(passage.steps[-2:], left)
    np.testing.assert_allclose(passage.survival[-2:], [0.5, 0.0])  # the censored run left the risk set at 875
    assert passage.median == left[0]
    assert math.isnan(first_passage(runs[2:]).median)


def test_runs_that_measure_credence_differently_are_kept_apart() -> None:
    """Not even coarsely: a class score of 0.9 and a vote of 0.9 are not the same belief."""
    with pytest.raises(ValueError, match=r"measure credence alike, .*; got logits in 0, 2; an unknown measure in 1\."):
        merge_runs([_run(measure="logits"), _run(), _run(measure="logits")])
    assert merge_runs([_run(measure="logits"), _run(1200.0, measure="logits")]).graph["runs"] == 2


def test_runs_must_share_their_strata() -> None:
    other = LandscapeTracker(np.repeat(["train", "held_out"], PROBES // 2))
    with pytest.raises(ValueError, match="at least one run, all with the same strata; got 2"):
        merge_runs([_run(), other])
