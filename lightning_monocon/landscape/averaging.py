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

from lightning_monocon.landscape.noise import WIDTHS
from lightning_monocon.landscape.profiles import pack, quantise, unpack
from lightning_monocon.landscape.strata import Profile, Strata

_SCALE = math.sqrt(2 / 1.5)  # of independent noise: the spread of a - b over that of b - (a + c) / 2


class RecentProfiles:
    """Keep the profiles ``(P,)`` of the last 5 evaluations."""

    def __init__(self) -> None:
        self.profiles: list[Profile] = []

    def add(self, profile: Profile) -> None:
        """Add one evaluation."""
        self.profiles = [*self.profiles, profile][-max(WIDTHS) :]

    def noise(self, strata: Strata) -> float | None:
        """Return the distance that noise alone puts between the last two profiles; None before the third.

        The middle one of three is compared with the mean of its neighbours: a steady rise, however fast, is no noise.
        """
        if len(self.profiles) < 3:
            return None
        before, middle, after = self.profiles[-3:]
        return _SCALE * float(strata.distance(middle, (before + after) / 2))

    def average(self, width: int) -> Profile:
        """Return the mean of the last ``width`` profiles, quantised."""
        return quantise(np.mean(self.profiles[-width:], axis=0)) if width > 1 else self.profiles[-1]

    def state_dict(self) -> dict[str, Any]:
        """Return the profiles."""
        return {"profiles": pack(self.profiles)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.profiles = unpack(state["profiles"])
