# SPDX-License-Identifier: Apache-2.0
"""Read from a run how long it took to escape from memorising: the time in the state, not the step of generalising."""

from __future__ import annotations

import numpy as np

from lightning_monocon.landscape import Event, LandscapeTracker
from lightning_monocon.landscape.rules import MEMORISED, RISE
from lightning_monocon.landscape.theory import Escape
from lightning_monocon.watching.files import Settings


def escape_of(tracker: LandscapeTracker, settings: Settings) -> Escape | None:
    """Return the escape of a run from the state in which it had memorised; None if it was never seen in one.

    The time runs from the entry into that state until the run leaves it for one of a higher held-out credence. A run
    that ends before gives a late escape. A state had memorised if a memorisation led to it, or if the train credence
    was 0.9 as it was left; a rise of both credences from chance is no escape.
    """
    rise = next((event for event in tracker.events if _generalises(event, tracker)), None)
    state = _memorised(tracker.events) if rise is None else rise.source
    if state is None or not _had_memorised(state, tracker):
        return None
    trajectory = tracker.trajectory
    inside = trajectory.column("step")[trajectory.column("state") == state]
    end = trajectory.steps[-1] if rise is None or rise.step_left is None else rise.step_left
    batch, size = int(settings["batch_size"]), int(settings["train_size"])
    return Escape(
        time=max(float(end - inside[0]), 1.0),
        lr=float(settings["lr"]),
        batch_size=None if batch >= size else batch,
        weight_decay=float(settings.get("weight_decay", 0.0)),
        optimizer=str(settings["optimizer"]),
        is_late=rise is None,
    )


def _generalises(event: Event, tracker: LandscapeTracker) -> bool:
    if not event.is_transition or event.source is None:
        return False
    names, gains = list(event.change), np.array([*event.change.values()])
    room = 1 - (tracker.chance or 0.0)
    return bool(tracker.roles.mean("held_out", names, gains) >= RISE * room)


def _had_memorised(state: int, tracker: LandscapeTracker) -> bool:
    if any(event.kind == "memorisation" and event.target == state for event in tracker.events):
        return True
    inside = tracker.trajectory.column("state") == state
    return bool(tracker.trajectory.role("train")[inside][-1] >= MEMORISED)


def _memorised(events: list[Event]) -> int | None:
    return next((event.target for event in events if event.kind == "memorisation"), None)
