# SPDX-License-Identifier: Apache-2.0
"""Decide at which steps a landscape is evaluated; the step alone decides, so that a resumed run agrees."""

from __future__ import annotations

import math

from lightning.pytorch import Trainer

PER_DECADE = 45
"""Evaluations of the schedule ``"log"`` in a decade of steps."""


def is_due(schedule: str | int, step: int) -> bool:
    """Return whether a schedule evaluates after ``step`` steps; the step alone decides, so a resumed run agrees.

    Example:
        >>> [step for step in range(1, 200) if is_due("log", step)][-4:]
        [167, 176, 185, 195]
    """
    if isinstance(schedule, int):
        return step % schedule == 0
    if schedule != "log" or step < 1:
        return False
    return step == 1 or math.floor(PER_DECADE * math.log10(step)) > math.floor(PER_DECADE * math.log10(step - 1))


def next_due(schedule: str | int, step: int) -> int:
    """Return the first step after ``step`` at which a schedule evaluates, or the last of the next 1 000 if none does.

    Example:
        >>> next_due("log", 185), next_due(7, 20), next_due("validation", 5)
        (195, 21, 1005)
    """
    return next((each for each in range(step + 1, step + 1000) if is_due(schedule, each)), step + 1000)


def evaluations(schedule: str | int, steps: int) -> int | None:
    """Return how often a run of ``steps`` steps is evaluated at most, with its start and its end.

    None of ``"validation"``, since the trainer decides when it validates.

    Example:
        >>> evaluations("log", 3), evaluations(10, 25), evaluations("validation", 100)
        (4, 4, None)
    """
    if schedule == "validation":
        return None
    return 1 + sum(is_due(schedule, step) for step in range(1, steps)) + 1


def planned_steps(trainer: Trainer) -> int | None:
    """Return how many steps a run is planned for, as its trainer estimates it; None if it is open-ended."""
    found = trainer.estimated_stepping_batches
    return int(found) if 0 < found < math.inf else None
