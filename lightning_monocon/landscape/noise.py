# SPDX-License-Identifier: Apache-2.0
"""Estimate the noise floor of a probe, and the radii that follow from it.

The floor n is the median of the last 25 distances that noise has put between two profiles, divided by the root of the
number of evaluations that a profile averages. It widens the radii,

    inner = max(eps_in, 1.2 n)      outer = max(eps_out, 2 inner),

and above 0.15, or if it has widened the outer radius beyond half the largest distance between two states, states
cannot be told apart. Then profiles are averaged over the last 3 or 5 evaluations, if a state was found before the noise
came. If that does not help, the probe is *unresolvable* and no new state is made.
"""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

NOISE_WINDOW = 25
NOISE_LIMIT = 0.15
MIN_DISTANCES = 10
WIDTHS = (1, 3, 5)


class Radii(NamedTuple):
    """Hold two radii about an anchor: its state lies within ``inner`` and is left beyond ``outer``."""

    inner: float
    outer: float


class NoiseFloor:
    """Keep the running median of the distance that noise puts between two profiles, and how many are averaged.

    Args:
        limit: Floor above which the probe is unresolvable.
    """

    def __init__(self, limit: float = NOISE_LIMIT) -> None:
        self.limit = limit
        self.distances: list[float] = []
        self.width = 1

    def add(self, distance: float) -> None:
        """Add one distance."""
        self.distances = [*self.distances, distance][-NOISE_WINDOW:]

    @property
    def level(self) -> float:
        """Return the floor, 0 before the first distance."""
        return median(self.distances) / math.sqrt(self.width) if self.distances else 0.0

    @property
    def is_calibrated(self) -> bool:
        """Return whether there are enough distances to call a probe unresolvable."""
        return len(self.distances) >= MIN_DISTANCES

    def choose_width(self, base: Radii, diameter: float | None, *, may_average: bool) -> None:
        """Average as few evaluations as tell states apart; one if no number does.

        Args:
            base: Radii that were asked for.
            diameter: As for `refusal`.
            may_average: Whether a state has been found already, so that the noise is not the probe's own.
        """
        for self.width in WIDTHS if may_average else ():
            if not self.refusal(base, diameter):
                return
        self.width = 1

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
