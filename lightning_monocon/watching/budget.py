# SPDX-License-Identifier: Apache-2.0
"""Keep the wall time of evaluations within a share of that of the run."""

from __future__ import annotations

import math
import time
from typing import Any

EARLY_SECONDS = 2.0
"""Seconds up to which evaluations may exceed their share of the run so far, if the whole run can afford them."""

FREE_SECONDS = 1.0
"""Seconds that evaluations may take whatever their share of the whole run, so that a fast run is seen at all."""

FREE_SPACING = 1.12
"""Least ratio of the steps of two evaluations that exceed their share of the run so far: 20 a decade of steps."""

FREE_EVALUATIONS = 20
"""Evaluations for which `FREE_SECONDS` may be used whatever their share of the whole run."""

FOR_EVALUATIONS = 0.75
"""Part of the share that evaluations may use; drawing the probe, and asking after every batch what is due, cost too."""


class Budget:
    """Decide whether one more evaluation, as long as the last, may be made.

    It may if evaluations then stay within three quarters of ``share`` of the wall time so far; the rest is for the
    hooks. Beyond that it may while the steps have grown by 12 % since the last, or by as much more as spreads the
    evaluations that the whole run can still afford evenly over the decades of steps that are left, and all of them take
    at most 1 second, or up to 2 if the whole run can afford them. A run of a few seconds can afford hardly any; 20 are
    taken all the same, so that watching costs ``share`` of the run or 1 second, whichever is more.

    Args:
        share: Largest share of wall time; None for no limit.
    """

    def __init__(self, share: float | None) -> None:
        self.share = share
        self.spent, self.last, self.elapsed = 0.0, 0.0, 0.0
        self.taken = self.skipped = 0
        self._skipped_step = -1
        self._since = 0.0
        self._planned: float | None = None
        self._first: tuple[int, float] | None = None  # step and seconds of training when first asked

    @property
    def wall(self) -> float:
        """Return the seconds of training so far, with those before a resume."""
        return self.elapsed + (time.perf_counter() - self._since if self._since else 0.0)

    @property
    def overhead(self) -> float:
        """Return the share of wall time spent on evaluations."""
        return self.spent / max(self.wall, 1e-9)

    def start(self, planned: float | None = None) -> None:
        """Begin a run: nothing is spent, and the clock starts.

        Args:
            planned: Steps that the run is planned for; None if it is open-ended.
        """
        self.spent, self.last, self.elapsed = 0.0, 0.0, 0.0
        self.taken = self.skipped = 0
        self._skipped_step = -1
        self._since = time.perf_counter()
        self._planned, self._first = planned, None

    def allows(self, step: int, last_step: int) -> bool:
        """Return whether an evaluation at ``step`` may be made, ``last_step`` being that of the one before it."""
        if self.share is None or not self.spent:
            return True
        total = self.spent + self.last
        if total <= FOR_EVALUATIONS * self.share * self.wall:
            return True
        affordable = self._affordable(step)
        free = min(max(affordable, FREE_SECONDS), EARLY_SECONDS)
        return total <= free and step >= self._spacing(affordable, last_step) * last_step

    def _affordable(self, step: int) -> float:
        """Return the seconds of evaluations that the whole run can afford, at the pace so far; 0 if it has no end."""
        if self._planned is None or not self.share:
            return 0.0
        trained = self.wall - self.spent
        if self._first is None:
            self._first = (step, trained)
        first, before = self._first  # the first step of a run is slow
        pace = (trained - before) / (step - first) if step > first else trained / max(step, 1)
        return FOR_EVALUATIONS * self.share * (trained + pace * (self._planned - step))

    def _spacing(self, affordable: float, last_step: int) -> float:
        """Return the ratio of steps that spreads what the whole run can still afford over the rest of it."""
        if self._planned is None or not last_step:
            return FREE_SPACING
        left = max(affordable * self.taken / self.spent, FREE_EVALUATIONS) - self.taken
        return max(FREE_SPACING, float((self._planned / last_step) ** (1 / left))) if left >= 1 else math.inf

    def skip(self, step: int) -> None:
        """Count an evaluation that was due and is not made."""
        self.skipped += 1
        self._skipped_step = step

    def add(self, step: int, measured: float, seconds: float) -> None:
        """Count an evaluation: the seconds until it was measured, and those until it was also reported."""
        self.taken += 1
        self.skipped -= step == self._skipped_step  # it is made up for at the end of the run
        self.last = measured
        self.spent += seconds

    def told(self) -> str:
        """Return a sentence on the evaluations that were skipped, with the remedy; empty without any."""
        if not self.skipped:
            return ""
        return (
            f"The budget of {self.share:g} of the wall time skipped {self.skipped} of {self.taken + self.skipped} "
            "evaluations of the landscape. Pass budget=None to take all of them, or a larger share."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run continues from."""
        return {"spent": self.spent, "elapsed": self.wall, "taken": self.taken, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; those of earlier releases do not count evaluations."""
        self.spent, self.elapsed = state["spent"], state["elapsed"]
        self.taken, self.skipped = state.get("taken", 0), state.get("skipped", 0)
