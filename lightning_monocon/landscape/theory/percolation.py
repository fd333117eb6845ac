# SPDX-License-Identifier: Apache-2.0
"""Sweep through percolation bond by bond, for the cost of one graph (Newman and Ziff, cond-mat/0005264).

Bonds are added one at a time to a union-find structure. After each of them

    S = s_max / N                 share of the largest cluster (order parameter)
    chi = sum' s^2 / N            over the other clusters (susceptibility)

are known. Site percolation is the bond sweep in which a bond opens when the later of its two sites does.
Thresholds on the square lattice: bonds 1/2, sites 0.59274621(13).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import DisjointSet

from lightning_monocon.landscape.strata import Floats

Edges = npt.NDArray[np.int64]


class Sweep(NamedTuple):
    """Hold the largest share and the susceptibility after each of E bonds, ``(E,)`` each."""

    giant: Floats
    susceptibility: Floats

    @property
    def peak(self) -> int:
        """Return the number of bonds at which the susceptibility is largest."""
        return int(self.susceptibility.argmax()) + 1


def newman_ziff(nodes: int, edges: Edges) -> Sweep:
    """Add ``(E, 2)`` bonds in the order given and follow the clusters.

    Example:
        >>> newman_ziff(4, np.array([[0, 1], [2, 3], [1, 2]])).giant
        array([0.5, 0.5, 1. ])
    """
    clusters, largest, squares = DisjointSet(range(nodes)), 1, nodes
    giant, rest = np.empty(len(edges)), np.empty(len(edges))
    for position, (left, right) in enumerate(edges.tolist()):
        a, b = clusters.subset_size(left), clusters.subset_size(right)
        if clusters.merge(left, right):
            squares += 2 * a * b
            largest = max(largest, a + b)
        giant[position], rest[position] = largest, squares - largest**2
    return Sweep(giant / nodes, rest / nodes)


def spanning_rank(nodes: int, edges: Edges, source: int, sink: int) -> int:
    """Return the number of bonds, in the order given, that connect ``source`` and ``sink``; E + 1 if they never do."""
    clusters = DisjointSet(range(nodes))
    for position, (left, right) in enumerate(edges.tolist()):
        clusters.merge(left, right)
        if clusters.connected(source, sink):
            return position + 1
    return len(edges) + 1


def square_lattice(side: int) -> Edges:
    """Return the ``2 side (side - 1)`` bonds ``(E, 2)`` of an open square lattice."""
    sites = np.arange(side * side).reshape(side, side)
    across = np.stack([sites[:, :-1].ravel(), sites[:, 1:].ravel()], axis=1)
    down = np.stack([sites[:-1].ravel(), sites[1:].ravel()], axis=1)
    return np.concatenate([across, down])


def bond_threshold(side: int, rng: np.random.Generator) -> float:
    """Return the share of bonds at which one random filling of the square lattice first spans from top to bottom."""
    bonds = rng.permutation(square_lattice(side))
    rims = _rims(side)
    rank = spanning_rank(side**2 + 2, np.concatenate([rims, bonds]), side**2, side**2 + 1)
    return (rank - len(rims)) / len(bonds)


def site_threshold(side: int, rng: np.random.Generator) -> float:
    """Return the share of sites at which one random filling of the square lattice first spans from top to bottom."""
    ranks = np.concatenate([rng.permutation(side**2), [-1, -1]])  # the rims are always there
    bonds = np.concatenate([square_lattice(side), _rims(side)])
    opened = ranks[bonds].max(axis=1)
    order = np.argsort(opened, kind="stable")
    rank = spanning_rank(side**2 + 2, bonds[order], side**2, side**2 + 1)
    return float(opened[order][rank - 1] + 1) / side**2


def _rims(side: int) -> Edges:
    """Return the bonds from two extra nodes to the top and the bottom row."""
    first = np.arange(side)
    top = np.stack([np.full(side, side**2), first], axis=1)
    bottom = np.stack([np.full(side, side**2 + 1), side**2 - side + first], axis=1)
    return np.concatenate([top, bottom])
