# SPDX-License-Identifier: Apache-2.0
"""Spanning over runs: planted thresholds and divergent times, and intervals from the literature."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
from scipy import stats

from lightning_monocon.landscape.theory import (
    binder_cumulant,
    budget_shift,
    spanning_probability,
    visited_percolation,
    wilson_interval,
)


def test_spanning_probability_counts_runs_within_the_budget() -> None:
    shares = spanning_probability([10, 10, 20, 20], [100, math.nan, 50, 300], budget=200)
    assert shares == {10.0: wilson_interval(1, 2), 20.0: wilson_interval(1, 2)}
    with pytest.raises(ValueError, match=r"one per run; got shapes \(2,\), \(3,\) and \(3,\)"):
        spanning_probability([10, 20], [1, 2, 3], budget=200)


def test_runs_that_ended_early_are_censored() -> None:
    """Exponential times, of which the runs see the first 300 to 2500 steps; 0.63 of them lie within 1000."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        times, ends = rng.exponential(1000, 20), rng.uniform(300, 2500, 20)
        seen = np.where(times <= ends, times, math.nan)
        share = spanning_probability(np.ones(20), seen, 1000, ends)[1.0]
        data = stats.CensoredData(uncensored=seen[times <= ends], right=ends[times > ends])
        curve = stats.ecdf(data).sf
        assert share.estimate == pytest.approx(1 - curve.evaluate(1000))
        shares.append(share)
    assert np.mean([share.estimate for share in shares]) == pytest.approx(1 - math.exp(-1), abs=0.02)
    assert np.mean([share.low <= 1 - math.exp(-1) <= share.high for share in shares]) > 0.9


def test_a_size_that_was_not_followed_is_unknown() -> None:
    shares = spanning_probability([1, 1, 2, 2], [math.nan, math.nan, 50, 60], 100, [80, 90, 200, 200])
    assert math.isnan(shares[1.0].estimate)
    assert shares[2.0] == wilson_interval(2, 2)


@pytest.mark.parametrize(("gap", "verdict"), [(300, "undecided"), (150, "threshold fell")])
def test_a_divergent_time_is_never_called_stable(gap: int, verdict: str) -> None:
    """No threshold at all: sizes too far apart to see it fall show nothing, and closer ones show that it falls."""
    sizes = np.repeat(np.arange(500.0, 2001, gap), 8)
    for seed in range(20):
        times = 3e13 * sizes**-3.5 * np.exp(0.1 * np.random.default_rng(seed).standard_normal(len(sizes)))
        result = budget_shift(sizes, times, [1500, 3000, 6000])
        assert not result.is_stable
        assert result.reason.startswith(verdict)
        assert result.expected == pytest.approx(120, rel=0.2)  # (1 - 2^(-1 / 3.5)) of the threshold


@pytest.mark.parametrize(("has_threshold", "is_stable"), [(True, True), (False, False)])
def test_budget_shift_tells_a_threshold_from_a_divergent_time(has_threshold: bool, is_stable: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = np.repeat(np.arange(500.0, 2001, 50), 8)
    mean = np.where(sizes > 1000, 800.0, np.inf) if has_threshold else 3e13 * sizes**-3.5
    times = mean * np.exp(0.1 * rng.standard_normal(len(sizes)))
    result = budget_shift(sizes, times, [1500, 3000, 6000])
    assert result.is_stable is is_stable
    if not is_stable:
        assert "no threshold shown" in result.reason
        assert (np.diff(result.thresholds) < 0).all()


def test_budget_shift_without_a_crossing_says_so() -> None:
    result = budget_shift([1, 1, 2, 2], [10, 10, 10, 10], [20, 40])
    assert not result.is_stable
    assert "does not cross one half" in result.reason


def test_wilson_and_binder() -> None:
    low, estimate, high = wilson_interval(8, 10)
    assert (round(low, 3), estimate, round(high, 3)) == (0.490, 0.8, 0.943)  # Newcombe 1998's method 3
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson_interval(3, 2)
    assert binder_cumulant(np.random.default_rng(0).standard_normal(200_000)) == pytest.approx(0, abs=0.02)
    assert binder_cumulant([1.0, -1.0]) == pytest.approx(2 / 3)


def test_small_visited_graphs_get_no_statistics() -> None:
    share, reason = visited_percolation(nx.path_graph(5, create_using=nx.DiGraph))
    assert math.isnan(share)
    assert reason == "The states number 5; percolation is measured from 30 on."
    assert visited_percolation(nx.path_graph(40, create_using=nx.DiGraph)) == (1.0, "")
