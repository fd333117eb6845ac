# SPDX-License-Identifier: Apache-2.0
"""Bend the arrows of a graph around the discs of its other nodes, and apart from each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Path: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

_BENDS = tuple(sign * 0.15 * i for i in range(1, 11) for sign in (1, -1))
_GAP = 4.0  # points between an arrow and a disc that it passes
_APART = 9.0  # points between two arrows, away from their ends
_SAMPLES = 48


class Disc(NamedTuple):
    """Hold a node: its centre and its radius in points."""

    centre: tuple[float, float]
    radius: float


def route(
    start: Disc, end: Disc, discs: Iterable[Disc], taken: Collection[Path], box: tuple[float, float, float, float]
) -> tuple[float, Path]:
    """Return the bend of an arrow from ``start`` to ``end``, and the points ``(T, 2)`` along it, within ``box``.

    The bend is the one that crosses the fewest points of the discs and arrows in its way, and among equals the
    slightest. The box is left, bottom, right and top.
    """
    others = [disc for disc in discs if disc not in (start, end)]
    paths = {bend: arc(start, end, bend) for bend in _BENDS}
    costs = {bend: _cost(path, others, taken, box) + abs(bend) for bend, path in paths.items()}
    best = min(costs, key=costs.__getitem__)
    return best, paths[best]


def arc(start: Disc, end: Disc, bend: float) -> Path:
    """Return the points of Matplotlib's ``arc3`` between the rims of two discs.

    Example:
        >>> arc(Disc((0.0, 0.0), 1.0), Disc((10.0, 0.0), 1.0), 0.5)[[0, 24, -1]].round(1).tolist()
        [[0.8, -0.7], [5.1, -2.5], [9.2, -0.7]]
    """
    (x, y), (u, v) = start.centre, end.centre
    control = np.array([(x + u) / 2 + bend * (v - y), (y + v) / 2 - bend * (u - x)])
    t = np.linspace(0, 1, 4 * _SAMPLES)[:, None]
    points = (1 - t) ** 2 * np.array(start.centre) + 2 * t * (1 - t) * control + t**2 * np.array(end.centre)
    outside = (_distance(points, start) > 0) & (_distance(points, end) > 0)
    kept = points[outside] if outside.sum() > 1 else points
    found: Path = kept[np.linspace(0, len(kept) - 1, _SAMPLES).round().astype(int)]
    return found


def _cost(path: Path, others: list[Disc], taken: Collection[Path], box: tuple[float, float, float, float]) -> float:
    """Count the points of a path that are in the way of something; a disc weighs more than an arrow."""
    left, bottom, right, top = box
    outside = (path < (left, bottom)).any(1) | (path > (right, top)).any(1)
    on_disc = sum(int((_distance(path, disc) < _GAP).sum()) for disc in others)
    middle = path[_SAMPLES // 6 : -_SAMPLES // 6]
    on_arrow = sum(
        int((np.linalg.norm(middle[:, None] - other[None], axis=-1).min(1) < _APART).sum()) for other in taken
    )
    return float(3 * outside.sum() + 10 * on_disc + on_arrow)


def _distance(points: Path, disc: Disc) -> Path:
    """Return the distance of each of ``points`` from the rim of a disc; negative inside."""
    found: Path = np.linalg.norm(points - np.array(disc.centre), axis=1) - disc.radius
    return found
