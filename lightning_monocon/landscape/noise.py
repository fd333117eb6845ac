# SPDX-License-Identifier: Apache-2.0
"""Estimate the noise floor of a probe, and the radii that follow from it.

The floor n is the median of the last 25 distances between consecutive profiles. It widens the radii,

    inner = max(eps_in, 1.2 n)      outer = max(eps_out, 2 inner),

and above 0.15, or if it has widened the outer radius beyond half the largest distance between two states, states
cannot be told apart. If a state was found before that, so that the noise comes from training and not from the probe,
the floor is measured in other ways, the first of which that tells states apart is taken: by distances without their
trend (`RecentProfiles.noise`), and by those of profiles that are averaged over the last 3 or 5 evaluations, whose noise
is smaller by the root of that number. If none does, the probe is *unresolvable* and no new state is made.
"""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

NOISE_WINDOW = 25
NOISE_LIMIT = 0.15
MIN_DISTANCES = 10


class Way(NamedTuple):
    """Hold how the floor is measured: without the trend or with it, and how many evaluations a profile averages."""

    is_trendless: bool
    width: int


WAYS = (Way(False, 1), Way(True, 1), Way(True, 3), Way(True, 5))
MOST = max(way.width for way in WAYS)


class Radii(NamedTuple):
    """Hold two radii about an anchor: its state lies within ``inner`` and is left beyond ``outer``."""

    inner: float
    outer: float


class NoiseFloor:
    """Keep the running median of the distance between consecutive profiles, and of that without the trend.

    Args:
        limit: Floor above which the probe is unresolvable.
    """

    def __init__(self, limit: float = NOISE_LIMIT) -> None:
        self.limit = limit
        self.distances: list[float] = []
        self.trendless: list[float] = []
        self.way = WAYS[0]

    def add(self, distance: float, trendless: float) -> None:
        """Add one distance, as it is and without its trend."""
        self.distances = [*self.distances, distance][-NOISE_WINDOW:]
        self.trendless = [*self.trendless, trendless][-NOISE_WINDOW:]

    @property
    def level(self) -> float:
        """Return the floor, measured in the way in force; 0 before the first distance."""
        distances = self.trendless if self.way.is_trendless else self.distances
        return median(distances) / math.sqrt(self.way.width) if distances else 0.0

    @property
    def is_calibrated(self) -> bool:
        """Return whether there are enough distances to call a probe unresolvable."""
        return len(self.distances) >= MIN_DISTANCES

    def choose(self, base: Radii, diameter: float | None, *, has_states: bool) -> None:
        """Take the first way that tells states apart; the first of all if none does.

        Args:
            base: Radii that were asked for.
            diameter: As for `refusal`.
            has_states: Whether a state has been found already, so that the noise is not the probe's own.
        """
        for self.way in WAYS if has_states else WAYS[:1]:
            if not self.refusal(base, diameter):
                return
        self.way = WAYS[0]

    def is_unresolvable(self, base: Radii, diameter: float | None) -> bool:
        """Return whether the probe is too noisy even without the trend: a fast change is not noise."""
        way, self.way = self.way, max(self.way, WAYS[1])
        refused = bool(self.refusal(base, diameter))
        self.way = way
        return self.is_calibrated and refused

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
