# SPDX-License-Identifier: Apache-2.0
"""Decide which runs a report is about, and say what its reader must know of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.trajectory import FEWEST_EVALUATIONS
from lightning_monocon.watching.files import Settings

R = TypeVar("R", bound=tuple[str, LandscapeTracker, Settings])


def included(runs: Sequence[R]) -> tuple[list[R], list[str]]:
    """Return the runs that were evaluated often enough, with a note on those that were not.

    A run of fewer than `FEWEST_EVALUATIONS` evaluations has no dwell and no delay, and is no run that did not
    generalise either.

    Args:
        runs: Name, tracker and settings of each run.

    Raises:
        ValueError: If no run was evaluated often enough.
    """
    kept = [run for run in runs if len(run[1].trajectory) >= FEWEST_EVALUATIONS]
    few = [f"{run[0]} ({len(run[1].trajectory)})" for run in runs if len(run[1].trajectory) < FEWEST_EVALUATIONS]
    if few and not kept:
        raise ValueError(
            f"`runs` must hold a run with at least {FEWEST_EVALUATIONS} evaluations of its landscape; got "
            f"{', '.join(few)}. Train for more steps, evaluate more often with `schedule`, or pass `budget=None`."
        )
    left_out = f"Left out, with fewer than {FEWEST_EVALUATIONS} evaluations: {', '.join(few)}."
    return kept, [left_out] if few else []


def task_notes(runs: Sequence[R]) -> list[str]:
    """Return a note on the runs whose task is not known, if they are reported on with other runs.

    Args:
        runs: Name, tracker and settings of each run.
    """
    unknown = [run[0] for run in runs if "task" not in run[2]]
    if not unknown or len(runs) == 1:
        return []
    return [
        f"Not checked: whether {', '.join(unknown)} {'has' if len(unknown) == 1 else 'have'} the task of the other "
        "runs. Runs without a data module, and those of earlier releases, do not say what they are trained on; over "
        "different tasks, shares, delays and laws mean nothing."
    ]
