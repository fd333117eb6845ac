# SPDX-License-Identifier: Apache-2.0
"""Count the rows that point the same way: repeated rows, repeated queries, and queries that are gallery rows.

Directions are compared, not bytes: a copy that is multiplied by a factor, or that holds -0.0 for 0.0, has the same
neighbours. Two rows are the same if their unit rows differ by no more than the rounding of a float32 network, and by
far less than different rows do. Where one side is held in half precision, the other is rounded to it first.

Rows of few values, such as 16 single bits, coincide although their inputs differ. They are told from copies by their
parts: rows that coincide by chance are surrounded by rows that agree with them in one half of the numbers, and copies
of rows of full precision are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from torch import Tensor

from lightning_monocon.functional.row_keys import direction_keys, row_keys
from lightning_monocon.functional.unit_rows import unit_rows

SAME_DIRECTION = 32 * torch.finfo(torch.float32).eps
"""Distance of unit rows, 4e-6, within which they are the same.

One float32 network gives rows that differ by 3e-7 in batches of another size, and deeper ones by more; noise of 1e-6,
which no search can notice, makes a copy no other row.
"""

_ROUNDING = 2 * torch.finfo(torch.float32).eps
"""The same of rows that were each rounded to float32 at most twice, and no more."""

_FAR_BELOW = 0.001
"""Share of the distance between different rows below which two are the same: in a narrow cone all rows are near.

Of rows on a curve, the least favourable case, a few in a thousand are that near by chance, too few to be flagged.
"""

_BELOW = 0.01
"""The same share for `_ROUNDING`: a copy that is multiplied by a factor is one in all but the narrowest cones."""

_EQUAL = 1e-13
"""Distance that float64 itself may make of equal unit rows."""

_SPREAD = 256
"""Rows that show how far apart different rows are."""

_SHADOW = 6
"""Dimensions of the projection in which the nearest row is looked up; rows that are near stay near in it."""

_CANDIDATES = 4
"""Nearest rows of the projection that are measured in full: in a narrow cone the very nearest may not be the copy."""

_TILE = 4096

_SAMPLED = 4096
"""Rows by which codes are told from copies. Where 5 million codes of b bits coincide, b is below 30 or so, and nearly
all of that many codes agree with another in one half of the bits."""


class Copies(NamedTuple):
    """Hold how many rows are the only ones of their direction, or the first of them.

    Attributes:
        distinct: Different rows of the gallery.
        distinct_query: Different queries.
        leaked: Queries that are rows of the gallery, and so find themselves.
        coded: Whether rows coincide because they hold few values, so that none of these counts shows a copy.
    """

    distinct: int
    distinct_query: int
    leaked: int
    coded: bool


class Directions(NamedTuple):
    """Hold a number for the direction of each row, equal for rows that point the same way.

    Attributes:
        gallery: ``(N,)`` integers.
        query: ``(Q,)`` integers.
    """

    gallery: np.ndarray
    query: np.ndarray

    def copies(self, sample: Callable[[], Tensor]) -> Copies:
        """Count copies; ``sample`` gives different rows of both, and is called only if rows coincide."""
        distinct, distinct_query = len(np.unique(self.gallery)), len(np.unique(self.query))
        leaked = self.leaked()
        share = max(1 - distinct / len(self.gallery), 1 - distinct_query / len(self.query), leaked / len(self.query))
        return Copies(distinct, distinct_query, leaked, coded=share > 0 and _half_alike(sample()) >= share)

    def leaked(self, excluded: Tensor | None = None) -> int:
        """Count the queries that are rows of the gallery.

        Args:
            excluded: ``(E, 2)`` pairs of a query and a row that it does not find; such a row is no leak.
        """
        values, counts = np.unique(self.gallery, return_counts=True)
        place = np.searchsorted(values, self.query).clip(max=len(values) - 1)
        found = np.where(values[place] == self.query, counts[place], 0)
        if excluded is not None:
            query, row = excluded.T.numpy()
            np.subtract.at(found, query[self.query[query] == self.gallery[row]], 1)
        return int((found > 0).sum())


def count_copies(gallery: Tensor, query: Tensor) -> Copies:
    """Count the different rows of a gallery ``(N, D)`` and of queries ``(Q, D)``, and the queries among the rows.

    Example:
        >>> rows = torch.tensor([[1.0, 2.0], [2.0, 4.0], [1.0, 0.0]])
        >>> count_copies(rows, torch.tensor([[3.0, -0.0], [3.0, 0.1]])).leaked
        1
    """
    return copies_and_directions(gallery, query)[0]


def copies_and_directions(gallery: Tensor, query: Tensor) -> tuple[Copies, Directions]:
    """Return what `count_copies` does, and the directions that it counts."""
    rows = torch.cat(_in_one_precision(gallery, query))
    group = same_direction(rows)
    found = Directions(group[: len(gallery)], group[len(gallery) :])
    first = torch.from_numpy(np.unique(group, return_index=True)[1])
    return found.copies(lambda: Sample().with_rows(rows[first]).rows), found


class Sample(NamedTuple):
    """Hold rows of different directions, those of the smallest keys: the same ones in any order and any blocks.

    Attributes:
        rows: ``(S, D)``, at most 4096.
        keys: ``(S,)`` keys of their directions, ascending.
    """

    rows: Tensor = torch.empty(0, 0)
    keys: Tensor = torch.empty(0, dtype=torch.int64)

    def with_rows(self, rows: Tensor, keys: Tensor | None = None) -> Sample:
        """Return the sample of these and further rows ``(B, D)``, whose `direction_keys` may be known."""
        keys = direction_keys(rows) if keys is None else keys
        if len(self.keys) == _SAMPLED:  # nearly all rows of a large gallery come too late
            rows, keys = rows[keys < self.keys[-1]], keys[keys < self.keys[-1]]
        rows, keys = torch.cat([self.rows.to(rows).view(-1, rows.shape[1]), rows]), torch.cat([self.keys, keys])
        first = np.unique(keys.numpy(), return_index=True)[1][:_SAMPLED]
        return Sample(rows[first], keys[first])


def same_direction(rows: Tensor) -> np.ndarray:
    """Return for each row ``(N, D)`` the number of its direction ``(N,)``; numbers ascend by first appearance."""
    shadow = _projected(rows)
    _, first, group = np.unique(shadow, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    reach = _reach(rows, first)
    while True:
        edges = _near(rows, shadow, first, reach)
        if not len(edges):
            break
        merged = _components(edges, len(first))
        first = _first(merged, first)
        group = merged[group]
    order = np.argsort(np.argsort(first))
    numbered: np.ndarray = order[group]
    return numbered


def _in_one_precision(gallery: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sides as the coarser one holds them: a row in half precision is a copy of the row it was made of."""
    for dtype in (torch.bfloat16, torch.float16):
        if any(_holds(rows, dtype) for rows in (gallery, query)):
            return _rounded(gallery, dtype), _rounded(query, dtype)
    return gallery, query


def _holds(rows: Tensor, dtype: torch.dtype) -> bool:
    return all(bool((part.to(dtype).to(part.dtype) == part).all()) for part in torch.split(rows, _TILE))


def _rounded(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Return rows in the precision of ``dtype``; those that leave its range stay as they are."""
    rounded = rows.to(dtype).to(rows.dtype)
    fits = (rounded - rows).abs().amax(1) <= torch.finfo(dtype).eps * rows.abs().amax(1)
    return torch.where(fits[:, None], rounded, rows)


def _reach(rows: Tensor, first: np.ndarray) -> float:
    """Return the distance within which unit rows are the same; ``first`` are rows of different places, in their order.

    Some rows show how far the next one is that is no copy. Among all, it is nearer by the share that they are, if rows
    lie on a curve; by less if they fill more dimensions.
    """
    picks = first[np.linspace(0, len(first) - 1, min(_SPREAD, len(first))).round().astype(int)]
    unit = unit_rows(rows[torch.from_numpy(picks)].double())
    distance = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")
    apart = distance.masked_fill(distance <= SAME_DIRECTION, torch.inf).amin(1)
    apart = apart[apart.isfinite()]
    nearest = float(apart.median()) * len(picks) / len(first) if len(apart) else 0.0
    return max(_EQUAL, min(_ROUNDING, _BELOW * nearest), min(SAME_DIRECTION, _FAR_BELOW * nearest))


def _projected(rows: Tensor) -> np.ndarray:
    """Return the unit rows on a few random axes ``(N, 6)`` float64."""
    generator = torch.Generator().manual_seed(0)
    width = rows.shape[1]
    axes = torch.linalg.qr(torch.randn(width, min(width, _SHADOW), dtype=torch.float64, generator=generator))[0]
    found: np.ndarray = torch.cat([unit_rows(part.double()) @ axes for part in torch.split(rows, _TILE)]).numpy()
    return found


def _near(rows: Tensor, shadow: np.ndarray, first: np.ndarray, reach: float) -> np.ndarray:
    """Return pairs ``(E, 2)`` of positions in ``first`` whose unit rows lie within ``reach``."""
    points = shadow[first]
    count = min(_CANDIDATES, len(points))
    distance, nearest = KDTree(points).query(points, k=count, distance_upper_bound=reach)
    distance, nearest = (part.reshape(len(points), -1) for part in (distance, nearest))
    ours, column = np.nonzero(np.isfinite(distance) & (nearest != np.arange(len(points))[:, None]))
    theirs = nearest[ours, column]

    pairs = torch.from_numpy(np.stack([ours, theirs], 1))
    kept = [_is_same(rows, part, first, reach) for part in torch.split(pairs, _TILE)]
    found: np.ndarray = pairs[torch.cat(kept)].numpy() if kept else pairs.numpy()
    return found


def _is_same(rows: Tensor, pairs: Tensor, first: np.ndarray, reach: float) -> Tensor:
    one, other = (unit_rows(rows[torch.from_numpy(first)[side]].double()) for side in pairs.T)
    near: Tensor = torch.linalg.vector_norm(one - other, dim=1) <= reach
    return near


def _components(edges: np.ndarray, count: int) -> np.ndarray:
    graph = coo_array((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels


def _first(merged: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the first row of each merged group."""
    found = np.full(merged.max() + 1, np.iinfo(first.dtype).max)
    np.minimum.at(found, merged, first)
    return found


def _half_alike(rows: Tensor) -> float:
    """Return the share of different rows that agree with another in every second one of the numbers that vary."""
    varying = rows[:, (rows != rows[0]).any(0)]
    if varying.shape[1] < 2:
        return 1.0
    alike = np.zeros(len(rows), dtype=bool)
    for half in (varying[:, ::2], varying[:, 1::2]):
        _, inverse, counts = np.unique(row_keys(half).numpy(), return_inverse=True, return_counts=True)
        alike |= counts[inverse.reshape(-1)] > 1
    return float(alike.mean())
