# SPDX-License-Identifier: Apache-2.0
"""Average the profiles of the last evaluations, where training itself makes single ones too noisy.

A network that memorises by minibatches knows at each step best what it has just seen, so the credence of a single input
flickers although the mean rises steadily. The average over the last 3 or 5 evaluations resolves such a run, and dates
its changes one or two evaluations late.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lightning_monocon.landscape.noise import MOST
from lightning_monocon.landscape.profiles import pack, quantise, unpack
from lightning_monocon.landscape.strata import Profile, Strata

_SCALE = math.sqrt(2 / 1.5)  # of independent noise: the spread of a - b over that of b - (a + c) / 2


class RecentProfiles:
    """Keep the profiles ``(P,)`` of the last 5 evaluations."""

    def __init__(self) -> None:
        self.profiles: list[Profile] = []

    def add(self, profile: Profile) -> None:
        """Add one evaluation."""
        self.profiles = [*self.profiles, profile][-MOST:]

    def distances(self, strata: Strata) -> tuple[float, float]:
        """Return the distance between the last two profiles, as it is and without its trend.

        Without the trend it is the smaller of that distance and of how far the middle one of three profiles lies from
        the mean of its neighbours, on the same scale: a steady rise, however fast, is no noise, and nor is a step.
        """
        apart = float(strata.distance(self.profiles[-2], self.profiles[-1]))
        if len(self.profiles) < 3:
            return apart, apart
        before, middle, after = self.profiles[-3:]
        return apart, min(apart, _SCALE * float(strata.distance(middle, (before + after) / 2)))

    def average(self, width: int) -> Profile:
        """Return the mean of the last ``width`` profiles, quantised."""
        return quantise(np.mean(self.profiles[-width:], axis=0)) if width > 1 else self.profiles[-1]

    def state_dict(self) -> dict[str, Any]:
        """Return the profiles."""
        return {"profiles": pack(self.profiles)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.profiles = unpack(state["profiles"])
