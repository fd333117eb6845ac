# SPDX-License-Identifier: Apache-2.0
"""Purity coverage against a slow sweep over all radii."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from lightning_monocon.landscape.theory import purity_coverage


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
