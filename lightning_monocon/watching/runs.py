# SPDX-License-Identifier: Apache-2.0
"""Hold the runs of a report, and what its sentences and its figures both read from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.phases import GeometryPhase, trajectory_phases
from lightning_monocon.watching.files import Settings

MIN_SIZES, MIN_SEEN = 4, 8
UNTOLD = ("provisional", "emergence")
"""Events that a report of several runs leaves out; the files of each run have them."""


class Run(NamedTuple):
    """Hold a run by name, with its tracker and settings."""

    name: str
    tracker: LandscapeTracker
    settings: Settings

    @property
    def delay(self) -> float:
        """Return the step at which the held-out credence was halfway from chance to 1; NaN if it was not."""
        return self.tracker.generalised

    @property
    def followed(self) -> float:
        """Return the last step at which the run was evaluated."""
        return float(self.tracker.trajectory.steps[-1])


class Delays(NamedTuple):
    """Hold the train samples and the delay of each run; the last step where it is only known to be longer."""

    sizes: list[float]
    times: list[float]
    censored: list[bool]

    @property
    def is_enough(self) -> bool:
        """Return whether laws can be told apart."""
        return len(set(self.sizes)) >= MIN_SIZES and self.censored.count(False) >= MIN_SEEN


def delays_of(runs: Sequence[Run]) -> Delays:
    """Return what the delay laws are fitted to."""
    censored = [math.isnan(run.delay) for run in runs]
    times = [run.followed if hidden else run.delay for run, hidden in zip(runs, censored, strict=True)]
    return Delays([float(run.settings["train_size"]) for run in runs], times, censored)


def phases_of(run: Run) -> tuple[GeometryPhase, ...]:
    """Return the phases of a run by the effective rank of its probe."""
    return trajectory_phases(run.tracker.trajectory).get("effective_rank", ())
