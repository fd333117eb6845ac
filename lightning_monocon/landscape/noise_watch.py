# SPDX-License-Identifier: Apache-2.0
"""Notice by its fallibility that a network overfits, and whether it is wrong labels that it learns.

    held-out fallibility   has risen by half a nat or more over its lowest, at 3 evaluations in a row
    train fallibility      has fallen by 0.05 nats or more since
    held-out credence      had risen by 0.1 or more before, so there was something to lose

The mean credence cannot see it: as wrong labels are learnt, most right answers stay probable, but a few wrong ones
become certain. A small set with right labels alone is overfitted in the same way, so that the rise is called
``overfitting``. It is called ``noise_memorisation`` only where samples with wrong labels have a stratum of their own
(the role ``wrong``), and

    their fallibility      has fallen by half a nat or more since: it is measured by the wrong labels, which are learnt
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

RISE = 0.5
FALL = 0.05
LEARNT = 0.1
PERSISTENCE = 3


class Levels(NamedTuple):
    """Hold mean fallibilities of the roles, in nats, and the mean held-out credence; NaN without a stratum."""

    train: float
    held_out: float
    credence: float
    wrong: float = math.nan


class NoiseWatch:
    """Compare fallibilities with those at the step where the held-out one was lowest.

    Once told, a rise is not told again before the fallibility has fallen to less than half of it.
    """

    def __init__(self) -> None:
        self.start: float | None = None  # held-out credence at the first evaluation
        self.lowest: tuple[int, Levels] | None = None
        self.streak: tuple[int, int] = (0, 0)  # evaluations in a row at which the rule holds, step of the first
        self.fall = math.nan  # of the fallibility of wrong labels since
        self.is_told = False

    @property
    def is_rising(self) -> bool:
        """Return whether the rule has held at the last 3 evaluations."""
        return self.streak[0] >= PERSISTENCE

    @property
    def since(self) -> int | None:
        """Return the step at which the held-out fallibility was lowest."""
        return None if self.lowest is None else self.lowest[0]

    @property
    def first(self) -> int:
        """Return the first step of those at which the rule has held in a row."""
        return self.streak[1]

    def update(self, step: int, levels: Levels) -> None:
        """Add one evaluation."""
        self.start = levels.credence if self.start is None else self.start
        if self.lowest is None or levels.held_out <= self.lowest[1].held_out:
            self.lowest = (step, levels)
        lowest = self.lowest[1]
        rise = levels.held_out - lowest.held_out
        falls = levels.train <= lowest.train - FALL
        holds = rise >= RISE and falls and lowest.credence >= self.start + LEARNT
        length, first = self.streak
        self.streak = (length + 1, first if length else step) if holds else (0, step)
        self.fall = lowest.wrong - levels.wrong
        self.is_told &= rise >= RISE / 2

    @property
    def kind(self) -> str:
        """Return the kind of the rise."""
        return "noise_memorisation" if self.fall >= RISE else "overfitting"

    @property
    def reason(self) -> str:
        """Return the rule in words."""
        lowest = "" if self.lowest is None else f" over {self.lowest[1].held_out:.2f} at step {self.lowest[0]}"
        return f"held-out fallibility +{RISE:g} nats or more{lowest}, train fallibility falling{self._cause}"

    @property
    def _cause(self) -> str:
        if math.isnan(self.fall):
            return "; no stratum has the role wrong, so wrong labels may be the cause or not"
        return f", that of wrong labels {-self.fall:+.2f}"

    def state_dict(self) -> dict[str, Any]:
        """Return references and counters as plain values."""
        lowest = None if self.lowest is None else [self.lowest[0], *self.lowest[1]]
        told: dict[str, Any] = {"fall": self.fall, "is_told": self.is_told}
        return {"start": self.start, "lowest": lowest, "streak": list(self.streak), **told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; an earlier release knew no wrong labels."""
        lowest = state["lowest"]
        self.start, self.is_told, self.fall = state["start"], state["is_told"], state.get("fall", math.nan)
        self.lowest = None if lowest is None else (lowest[0], Levels(*lowest[1:]))
        self.streak = (state["streak"][0], state["streak"][1])
