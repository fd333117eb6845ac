# SPDX-License-Identifier: Apache-2.0
"""Walks on graphs of known dimension, and the numbers that must be refused."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse import csgraph

from lightning_monocon.landscape.theory import (
    displacement_exponent,
    distinct_exponent,
    distinct_states,
    mean_first_passage,
    return_probability,
    spectral_dimension,
)
from lightning_monocon.landscape.theory.walks import brownian_displacements


def _adjacency(graph: nx.Graph) -> sparse.csr_matrix:
    return sparse.csr_matrix(nx.to_scipy_sparse_array(graph, dtype=float))


def _critical_cluster(side: int, seed: int) -> sparse.csr_matrix:
    """Largest cluster of the square lattice with half its bonds open."""
    rng = np.random.default_rng(seed)
    sites = np.arange(side * side).reshape(side, side)
    across, down = rng.random((side, side - 1)) < 0.5, rng.random((side - 1, side)) < 0.5
    left = np.concatenate([sites[:, :-1][across], sites[:-1][down]])
    right = np.concatenate([sites[:, 1:][across], sites[1:][down]])
    half = sparse.csr_matrix((np.ones(len(left)), (left, right)), shape=(side**2, side**2))
    whole = half + half.T
    names = csgraph.connected_components(whole)[1]
    inside = np.flatnonzero(names == np.bincount(names).argmax())
    return whole[inside][:, inside].tocsr()


def test_return_probability_of_a_ring_is_a_binomial() -> None:
    back = return_probability(_adjacency(nx.cycle_graph(200)), [0], 40)
    expected = [math.comb(2 * n, n) / 4**n for n in range(1, 41)]  # a lazy step is two half steps
    np.testing.assert_allclose(back, expected, rtol=1e-12)


def test_spectral_dimension_of_ring_and_torus() -> None:
    ring = spectral_dimension(_adjacency(nx.cycle_graph(1500)), [0])
    assert ring.value == pytest.approx(1.0, abs=0.02)
    torus = spectral_dimension(_adjacency(nx.grid_2d_graph(81, 81, periodic=True)), [0])
    assert torus.value == pytest.approx(2.0, abs=0.04)


def _critical_dimension(side: int, samples: int) -> float:
    values = []
    for seed in range(samples):
        cluster = _critical_cluster(side, seed)
        starts = np.random.default_rng(seed).choice(cluster.shape[0], 30, replace=False)
        values.append(spectral_dimension(cluster, starts.tolist()).value)
    return float(np.mean(values))


def test_spectral_dimension_of_the_critical_cluster() -> None:
    assert _critical_dimension(side=100, samples=4) == pytest.approx(1.316, abs=0.12)


@pytest.mark.slow
def test_spectral_dimension_of_larger_critical_clusters() -> None:
    assert _critical_dimension(side=150, samples=8) == pytest.approx(1.316, abs=0.06)


def test_a_random_regular_graph_has_no_spectral_dimension() -> None:
    graph = _adjacency(nx.random_regular_graph(3, 1500, seed=0))
    fit = spectral_dimension(graph, list(range(10)), window=(10, 200))
    assert fit.is_refused
    assert "not a power law" in fit.reason


@pytest.mark.parametrize(("alpha", "tolerance"), [(1.0, 0.02), (0.5, 0.06)], ids=["ballistic", "diffusive"])
def test_displacement_exponent(alpha: float, tolerance: float) -> None:
    steps = np.random.default_rng(0).standard_normal((1500, 40)) + (10.0 if alpha == 1.0 else 0.0)
    assert displacement_exponent(np.cumsum(steps, axis=0)).value == pytest.approx(alpha, abs=tolerance)


@pytest.mark.parametrize(("runs", "tolerance"), [(1, 0.08), (5, 0.04)])
def test_brownian_paths_of_400_points_are_given_with_intervals_that_cover(runs: int, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    found = [displacement_exponent(rng.standard_normal((runs, 400, 4)).cumsum(axis=1).squeeze()) for _ in range(25)]
    given = [fit for fit in found if not fit.is_refused]
    assert len(given) >= 24
    assert np.mean([fit.interval.low <= 0.5 <= fit.interval.high for fit in given]) >= 0.88
    assert np.std([fit.value for fit in given]) == pytest.approx(np.mean([fit.error for fit in given]), rel=0.6)
    assert all(fit.value == pytest.approx(0.5, abs=2 * tolerance) for fit in given)


def test_simulated_paths_have_the_displacements_of_their_exponent() -> None:
    lags = np.array([1, 2, 5, 10, 20])
    squares = brownian_displacements(
        0.3, np.random.default_rng(1).standard_normal((2000, 8)), lags, np.random.default_rng(0)
    )
    np.testing.assert_allclose(squares.mean(axis=0) / squares.mean(axis=0)[0], lags**0.6, rtol=0.03)


def test_displacements_that_cannot_be_measured() -> None:
    assert "needs 200 evaluations, got 50" in displacement_exponent(np.zeros((50, 3))).reason
    assert "does not move" in displacement_exponent(np.zeros((400, 3))).reason
    path = np.cumsum(np.ones((250, 2)), axis=0)
    assert "needs 1.5" in displacement_exponent(path, max_lag_share=0.1).reason


def test_distinct_states_of_a_walk_on_a_ring() -> None:
    hops = np.random.default_rng(0).choice([-1, 1], (200, 2000))
    walks = np.cumsum(hops, axis=1).tolist()
    np.testing.assert_array_equal(distinct_states([3, 3, 1, 3, 2]), [1, 1, 2, 2, 3])
    fit = distinct_exponent(walks)
    assert fit.value == pytest.approx(0.5, abs=0.04)
    groups = [distinct_exponent(walks[i : i + 10]) for i in range(0, 200, 10)]
    assert np.mean([part.interval.low <= 0.5 <= part.interval.high for part in groups]) > 0.84
    assert np.std([part.value for part in groups]) == pytest.approx(np.mean([part.error for part in groups]), rel=0.5)
    assert "single run" in distinct_exponent(walks[:1]).reason
    assert "needs 200 positions" in distinct_exponent([w[:100] for w in walks]).reason


def test_first_passage_on_a_line_is_quadratic() -> None:
    n = 8
    matrix = np.zeros((n + 1, n + 1))
    matrix[0, 1] = matrix[n, n] = 1.0
    for i in range(1, n):
        matrix[i, i - 1] = matrix[i, i + 1] = 0.5
    np.testing.assert_allclose(mean_first_passage(matrix, n), [n**2 - i**2 for i in range(n + 1)])


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        ([[1.0, 0.5], [0.0, 1.0]], "rows that sum to one"),
        ([[1.0, 0.0], [0.0, 1.0]], "must be reachable from each state, got 1; leave out"),
    ],
)
def test_bad_transitions_are_named(matrix: list[list[float]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        mean_first_passage(matrix, 1)
