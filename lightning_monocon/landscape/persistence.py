# SPDX-License-Identifier: Apache-2.0
"""Measure how long a state persists as the resolution changes, by the same clustering at six radii side by side.

A state that is found at one radius only is an artefact of that radius; one that is found from 0.05 to 0.3 is not. The
outer radius is twice the inner one throughout.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lightning_monocon.landscape.clustering import Clustering
from lightning_monocon.landscape.noise import NoiseFloor, Radii
from lightning_monocon.landscape.strata import Profile, Strata

RADII = (0.05, 0.075, 0.1, 0.15, 0.2, 0.3)


class Lifetime(NamedTuple):
    """Hold the smallest and the largest inner radius at which a state is found, and the share of all radii."""

    low: float
    high: float
    share: float


class ResolutionSweep:
    """Cluster the same profiles at several radii."""

    def __init__(self, strata: Strata, window: float, max_window: int | None) -> None:
        self.strata = strata
        self.levels = {radius: Clustering(strata, window, max_window) for radius in RADII}

    def update(self, step: int, profile: Profile, noise: NoiseFloor, *, may_create: bool) -> None:
        """Add one evaluation at each radius."""
        for radius, clustering in self.levels.items():
            clustering.update(step, profile, noise.radii(Radii(radius, 2 * radius)), may_create=may_create)

    def lifetime(self, anchor: Profile, reach: float) -> Lifetime:
        """Return the radii at which a state lies within ``reach`` of an anchor ``(P,)``; NaN bounds if none does."""
        alive = [
            radius
            for radius, clustering in self.levels.items()
            if any(self.strata.distance(anchor, other) <= reach for other in clustering.anchors)
        ]
        bounds = (alive[0], alive[-1]) if alive else (float("nan"), float("nan"))
        return Lifetime(*bounds, len(alive) / len(self.levels))

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the clusterings by radius."""
        return {f"{radius:g}": clustering.state_dict() for radius, clustering in self.levels.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for radius, clustering in self.levels.items():
            clustering.load_state_dict(state[f"{radius:g}"])
