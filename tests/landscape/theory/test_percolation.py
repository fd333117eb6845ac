# SPDX-License-Identifier: Apache-2.0
"""Percolation against known thresholds and a slow reference."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
from scipy import optimize

from lightning_monocon.landscape.theory import (
    bond_threshold,
    newman_ziff,
    site_threshold,
    spanning_rank,
    square_lattice,
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
