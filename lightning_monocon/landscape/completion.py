# SPDX-License-Identifier: Apache-2.0
"""Notice that a partial generalisation has become a whole one without another change of state.

A change is judged once, when its new state is confirmed. A run that falls back after each jump may be confirmed at a
held-out credence of 0.8 and reach that of what it trains on later, within the outer radius of the same state:

    held-out credence      at 0.9 of the train credence or more, at 3 evaluations in a row
    train credence         at 0.9 or more at each of them
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightning_monocon.landscape.events import Event
from lightning_monocon.landscape.rules import MEMORISED
from lightning_monocon.landscape.trajectory import Trajectory

PERSISTENCE = 3
KIND = "completion"


def completion(events: Sequence[Event], trajectory: Trajectory, state: int | None) -> Event | None:
    """Return the event that completes the last change of state, if that was ``partial``; None otherwise.

    Args:
        events: Events so far.
        trajectory: The run up to the evaluation that is judged.
        state: The state occupied; None in transit.
    """
    last = next((event for event in reversed(events) if event.is_transition or event.kind == KIND), None)
    if last is None or last.kind != "partial" or state is None or state != last.target:
        return None
    rows = range(len(trajectory) - PERSISTENCE, len(trajectory))
    if rows[0] < 0 or trajectory.steps[rows[0]] <= (last.step_confirmed or 0):
        return None
    width = len(trajectory.strata)
    means = np.array([trajectory.values[row][:width] for row in rows])
    train = trajectory.roles.mean("train", trajectory.strata, means)
    held_out = trajectory.roles.mean("held_out", trajectory.strata, means)
    if train.min() < MEMORISED or (held_out < MEMORISED * train).any():
        return None
    first, now = trajectory.steps[rows[0]], trajectory.steps[rows[-1]]
    reason = f"val {held_out[-1]:.2f} where train is {train[-1]:.2f}, after the partial change at step {last.step_left}"
    return Event(KIND, last.step_left, first, now, state, state, reason=reason)
