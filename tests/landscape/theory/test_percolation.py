# SPDX-License-Identifier: Apache-2.0
"""Percolation against known thresholds, a slow reference, and planted spanning probabilities."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch
from scipy import optimize

from lightning_monocon.landscape.theory import (
    binder_cumulant,
    bond_threshold,
    budget_shift,
    newman_ziff,
    purity_coverage,
    site_threshold,
    spanning_probability,
    spanning_rank,
    square_lattice,
    visited_percolation,
    wilson_interval,
)


def test_sweep_equals_components_from_scratch() -> None:
    rng = np.random.default_rng(0)
    edges = rng.integers(0, 30, (40, 2))
    sweep, graph = newman_ziff(30, edges), nx.empty_graph(30)
    for position, (left, right) in enumerate(edges):
        graph.add_edge(int(left), int(right))
        sizes = sorted((len(c) for c in nx.connected_components(graph)), reverse=True)
        assert sweep.giant[position] == pytest.approx(sizes[0] / 30)
        assert sweep.susceptibility[position] == pytest.approx(sum(s**2 for s in sizes[1:]) / 30)
    assert spanning_rank(3, np.array([[0, 1]]), 0, 2) == 2


@pytest.mark.parametrize("side", [16, 32])
def test_bonds_span_at_one_half(side: int) -> None:
    rng = np.random.default_rng(side)
    thresholds = [bond_threshold(side, rng) for _ in range(30)]
    assert np.mean(thresholds) == pytest.approx(0.5, abs=0.35 * side**-0.75)
    assert np.std(thresholds) == pytest.approx(0.47 * side**-0.75, rel=0.5)


@pytest.mark.parametrize("side", [32, 64])
def test_sites_span_at_0593(side: int) -> None:
    rng = np.random.default_rng(side)
    thresholds = [site_threshold(side, rng) for _ in range(20 if side < 64 else 8)]
    assert np.mean(thresholds) == pytest.approx(0.59274621, abs=0.4 * side**-0.75)


def test_susceptibility_peaks_at_the_threshold() -> None:
    rng = np.random.default_rng(0)
    bonds = square_lattice(32)
    peaks = [newman_ziff(32**2, rng.permutation(bonds)).peak / len(bonds) for _ in range(8)]
    assert np.mean(peaks) == pytest.approx(0.5, abs=0.35 * 32**-0.75)


@pytest.mark.parametrize("degree", [0.5, 1.5, 2.0, 3.0])
def test_random_graphs_have_the_giant_component_of_theory(degree: float) -> None:
    nodes, rng = 8000, np.random.default_rng(0)
    sweep = newman_ziff(nodes, rng.integers(0, nodes, (int(degree * nodes / 2), 2)))
    share = 0.0 if degree <= 1 else optimize.brentq(lambda s: 1 - s - math.exp(-degree * s), 1e-3, 1)
    assert sweep.giant[-1] == pytest.approx(share, abs=0.03)


def test_random_graphs_peak_near_degree_one() -> None:
    nodes, rng = 2000, np.random.default_rng(0)
    peaks = [2 * newman_ziff(nodes, rng.integers(0, nodes, (1600, 2))).peak / nodes for _ in range(10)]
    assert np.mean(peaks) == pytest.approx(1 + 1.5 * nodes ** (-1 / 3), abs=0.1)


def _coverage(points: np.ndarray, labels: np.ndarray) -> float:
    """Purity coverage by rebuilding the neighbour graph at every radius."""
    distances = np.abs(points[:, None] - points[None])
    best = 0
    for radius in np.unique(distances):
        graph = nx.from_numpy_array(distances <= radius)
        pure = [c for c in nx.connected_components(graph) if len(c) > 1 and len({labels[i] for i in c}) == 1]
        best = max(best, sum(map(len, pure)))
    return best / len(points)


@pytest.mark.parametrize("seed", range(4))
def test_purity_coverage_equals_the_slow_sweep(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 40)
    points = labels + 0.4 * rng.standard_normal(40)
    got = purity_coverage(torch.from_numpy(points)[:, None], torch.from_numpy(labels), permutations=0)
    assert got.coverage == pytest.approx(_coverage(points, labels))


def test_purity_coverage_follows_the_classes() -> None:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(np.repeat(np.arange(16), 16))
    means = 10 * torch.from_numpy(rng.standard_normal((16, 8)))
    noise = torch.from_numpy(rng.standard_normal((256, 8)))
    clustered, random = purity_coverage(means[labels] + 0.1 * noise, labels), purity_coverage(noise, labels)
    assert clustered.coverage == 1.0
    assert random.coverage < 0.25
    assert clustered.chance < 0.1
    with pytest.raises(ValueError, match=r"one label each, got shapes \(256, 8\) and \(3,\)"):
        purity_coverage(noise, labels[:3])


def test_spanning_probability_counts_runs_within_the_budget() -> None:
    shares = spanning_probability([10, 10, 20, 20], [100, math.nan, 50, 300], budget=200)
    assert shares == {10.0: wilson_interval(1, 2), 20.0: wilson_interval(1, 2)}


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
    assert reason == "n_nodes=5 < 30: no percolation statistics"
    assert visited_percolation(nx.path_graph(40, create_using=nx.DiGraph)) == (1.0, "")
