# SPDX-License-Identifier: Apache-2.0
"""Estimate the noise floor of a probe, and the radii that follow from it.

The floor n is the median of the last 25 distances between consecutive profiles. It widens the radii,

    inner = max(eps_in, 1.2 n)      outer = max(eps_out, 2 inner),

and above 0.15, or if it has widened the outer radius beyond half the largest distance between two states, states
cannot be told apart: the probe is *unresolvable* and no new state is made.
"""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

NOISE_WINDOW = 25
NOISE_LIMIT = 0.15
MIN_DISTANCES = 10


class Radii(NamedTuple):
    """Hold two radii about an anchor: its state lies within ``inner`` and is left beyond ``outer``."""

    inner: float
    outer: float


class NoiseFloor:
    """Keep the running median of the distance between consecutive profiles.

    Args:
        limit: Floor above which the probe is unresolvable.
    """

    def __init__(self, limit: float = NOISE_LIMIT) -> None:
        self.limit = limit
        self.distances: list[float] = []

    def add(self, distance: float) -> None:
        """Add one distance."""
        self.distances = [*self.distances, distance][-NOISE_WINDOW:]

    @property
    def level(self) -> float:
        """Return the floor, 0 before the first distance."""
        return median(self.distances) if self.distances else 0.0

    @property
    def is_calibrated(self) -> bool:
        """Return whether there are enough distances to call a probe unresolvable."""
        return len(self.distances) >= MIN_DISTANCES

    def radii(self, base: Radii) -> Radii:
        """Return ``base`` widened to the floor."""
        inner = max(base.inner, 1.2 * self.level)
        return Radii(inner, max(base.outer, 2.0 * inner))

    def refusal(self, base: Radii, diameter: float | None) -> str:
        """Return why no new state may be made; empty if one may.

        Args:
            base: Radii that were asked for.
            diameter: Largest distance between two states; None while there are fewer than two.
        """
        if self.level > self.limit:
            return f"noise floor {self.level:.3f} > {self.limit}: profiles move too much between evaluations"
        outer = self.radii(base).outer
        if diameter is not None and outer > base.outer and outer > diameter / 2:
            return f"noise widened the outer radius to {outer:.3f}, over half the largest distance {diameter:.3f}"
        return ""
