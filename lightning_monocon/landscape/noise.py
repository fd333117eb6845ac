# SPDX-License-Identifier: Apache-2.0
"""The noise floor of a probe, and the radii that follow from it.

The floor n is the median of the last 25 distances between consecutive profiles. It widens the radii,

    inner = max(eps_in, 1.2 n)      outer = max(eps_out, 2 inner),

and above 0.15 (or where it has widened the outer radius beyond half the largest distance between two states)
states cannot be told apart: the probe is *unresolvable* and no new state may be made.
"""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

NOISE_WINDOW = 25
NOISE_LIMIT = 0.15
MIN_DISTANCES = 10


class Radii(NamedTuple):
    """Inside ``inner`` of an anchor is its state; beyond ``outer`` the state is left."""

    inner: float
    outer: float


class NoiseFloor:
    """Running median of the distance between consecutive profiles.

    Args:
        limit: Floor above which the probe is unresolvable.
    """

    def __init__(self, limit: float = NOISE_LIMIT) -> None:
        self.limit = limit
        self.distances: list[float] = []

    def add(self, distance: float) -> None:
        """Take in one more distance."""
        self.distances = [*self.distances, distance][-NOISE_WINDOW:]

    @property
    def level(self) -> float:
        """The floor, 0 before the first distance."""
        return median(self.distances) if self.distances else 0.0

    @property
    def is_calibrated(self) -> bool:
        """Whether there are enough distances to declare a probe unresolvable rather than to wait."""
        return len(self.distances) >= MIN_DISTANCES

    def radii(self, base: Radii) -> Radii:
        """``base`` widened to the floor."""
        inner = max(base.inner, 1.2 * self.level)
        return Radii(inner, max(base.outer, 2.0 * inner))

    def refusal(self, base: Radii, diameter: float | None) -> str:
        """Why no new state may be made, empty where it may.

        Args:
            base: The radii asked for.
            diameter: Largest distance between two states, None while there are fewer than two.
        """
        if self.level > self.limit:
            return f"noise floor {self.level:.3f} > {self.limit}: profiles move too much between evaluations"
        outer = self.radii(base).outer
        if diameter is not None and outer > base.outer and outer > diameter / 2:
            return f"noise widened the outer radius to {outer:.3f}, over half the largest distance {diameter:.3f}"
        return ""
