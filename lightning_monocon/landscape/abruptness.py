# SPDX-License-Identifier: Apache-2.0
"""Measure how much faster a change of state was than the states it joins.

    A = [0.6 d(a_i, a_j) / log-time of the 20 -> 80 % rise along the axis a_j - a_i]
        / [median log-time speed inside the two states]

Speeds inside a state compare the medians of consecutive blocks of 5 evaluations, which suppresses the noise of the
probe. Real transitions gave 4 to 225 and drifts at most 0.1, so A >= 3 separates a jump from a drift. A state at rest
has no speed to compare with, so a speed below `REST` counts as that: from rest, A tells how fast the change was.
Log-time is log(step + 1).
"""

from __future__ import annotations

import math

import numpy as np

from lightning_monocon.landscape.profiles import Point
from lightning_monocon.landscape.strata import Floats, Profile, Strata

BLOCK = 5
REST = 0.01
"""The least speed inside a state: one per cent of credence while the steps grow by a factor of e."""


def abruptness(path: list[Point], left: int, entered: int, axis: Axis) -> float:
    """Return the abruptness of a change of state.

    Args:
        path: Evaluations from the entry into the source to the confirmation of the target, in order.
        left: First step outside the source.
        entered: First step inside the target.
        axis: The anchors of the two states.

    Returns:
        The ratio; NaN if the rise is not covered or neither state has two evaluations.
    """
    rise = axis.rise(path)
    if rise is None:
        return math.nan
    before = [point for point in path if point.step < left]
    after = [point for point in path if point.step >= entered]
    inside = axis.speeds(before) + axis.speeds(after)
    if not inside:
        return math.nan
    speed = 0.6 * axis.length / float(np.log1p(rise[1]) - np.log1p(rise[0]))
    return speed / max(float(np.median(inside)), REST)


class Axis:
    """Project profiles on the line from the anchor of one state to that of another."""

    def __init__(self, strata: Strata, source: Profile, target: Profile) -> None:
        self.strata, self.source = strata, source.astype(np.float64)
        self.direction = target.astype(np.float64) - self.source
        self.length = float(strata.distance(source, target))

    def exit(self, path: list[Point], outer: float) -> float | None:
        """Return the first step outside the source on the way that first leads halfway to the target.

        A transition path is dated by the last exit before the first hit: a path that leaves, touches the source again
        and leaves for good has one exit, and what happens after the path was halfway cannot postpone it.
        """
        steps, profiles = _unzip(path)
        hits = np.flatnonzero(self._share(profiles) >= 0.5)
        if not len(hits):
            return None
        inside = np.flatnonzero(self.strata.distance(profiles[: hits[0]], self.source) <= outer)
        return float(steps[inside[-1] + 1] if len(inside) else steps[0])

    def rise(self, path: list[Point]) -> tuple[float, float] | None:
        """Return the steps of the last point below 20 % of the way and of the first above 80 % after it."""
        steps, profiles = _unzip(path)
        share = self._share(profiles)
        high = np.flatnonzero(share >= 0.8)
        if not len(high) or not len(low := np.flatnonzero(share[: high[0]] <= 0.2)):
            return None
        return float(steps[low[-1]]), float(steps[high[0]])

    def _share(self, profiles: Floats) -> Floats:
        """Return how far along the line ``(T, P)`` profiles are: 0 at the source, 1 at the target."""
        share: Floats = ((profiles - self.source) * self.direction).sum(axis=1) / (self.direction**2).sum()
        return share

    def speeds(self, visit: list[Point]) -> list[float]:
        """Return log-time speeds between consecutive blocks of a visit; the blocks of a short visit are smaller."""
        size = min(BLOCK, len(visit) // 2)
        if size == 0:
            return []
        steps, profiles = _unzip(visit)
        starts = range(0, len(visit) - size + 1, size)
        centres = np.stack([np.median(profiles[i : i + size], axis=0) for i in starts])
        times = np.log1p([steps[i : i + size].mean() for i in starts])
        moved = self.strata.distance(centres[1:], centres[:-1])
        return [float(v) for v in moved / np.diff(times)]


def _unzip(points: list[Point]) -> tuple[Floats, Floats]:
    steps = np.array([point.step for point in points], dtype=np.float64)
    return steps, np.stack([point.profile for point in points]).astype(np.float64)
