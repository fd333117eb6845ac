# SPDX-License-Identifier: Apache-2.0
"""Turn a move of the clustering into the event that is reported."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lightning_monocon.landscape.barriers import semantic_barrier
from lightning_monocon.landscape.clustering import MIN_EVALUATIONS, Move
from lightning_monocon.landscape.events import Event
from lightning_monocon.landscape.rules import MEMORISED, Change, transition_kind, untyped_kind
from lightning_monocon.landscape.strata import Floats, Profile, Strata
from lightning_monocon.landscape.trajectory import Trajectory
from lightning_monocon.landscape.visit import Visit


class Record(NamedTuple):
    """Hold what a move is compared with."""

    strata: Strata
    trajectory: Trajectory
    visit: Visit
    anchors: list[Profile]
    thresholds: dict[str, float]


def interpret(move: Move, step: int, record: Record) -> Event | None:
    """Return the event of a move confirmed at ``step``; None for a first state that no rule names."""
    shared: dict[str, Any] = {
        "step_left": move.left,
        "source": move.source,
        "change": change_per_stratum(move, record),
        "thresholds": record.thresholds,
    }
    if move.kind == "leave":
        return Event("provisional", reason="left, next state not confirmed", **shared)
    shared |= {"step_entered": move.entered, "step_confirmed": step, "target": move.target}
    if move.kind != "enter":
        length = "an excursion" if move.kind == "excursion" else "a spike of one evaluation"
        return Event("instability", is_return=True, reason=f"{length}, back in the same state", **shared)
    left = record.visit.exit(move, record.strata, record.anchors, record.thresholds["eps_out"])
    return _transition(move, {**shared, "step_left": left}, record)


def change_per_stratum(move: Move, record: Record) -> dict[str, float]:
    """Return the difference of the mean credences, from the source (or the first evaluation) to the new profile."""
    before, after = _means(move, record)
    return {n: float(b - a) for n, a, b in zip(record.strata.names, before, after, strict=True)}


def delay_ratio(trajectory: Trajectory) -> float:
    """Return the steps until the validation credence reached 0.5 over those until the train credence reached 0.9."""
    memorised = trajectory.crossing("credence/train", MEMORISED)
    return trajectory.crossing("credence/val", 0.5) / max(memorised, 1.0)


def _transition(move: Move, shared: dict[str, Any], record: Record) -> Event | None:
    abrupt = record.visit.abruptness(move, record.strata, record.anchors)
    is_return = not move.is_new
    kind, reason = _kind(move, abrupt, is_return, record)
    if move.source is None and kind in ("jump", "drift"):
        return None
    barrier = semantic_barrier(record.trajectory, move.source, move.entered)
    return Event(kind, abruptness=abrupt, is_return=is_return, barrier=barrier, reason=reason, **shared)


def _kind(move: Move, abrupt: float, is_return: bool, record: Record) -> tuple[str, str]:
    train, val = record.strata.role("train"), record.strata.role("val")
    if train is None or val is None:
        return ("return", "state seen before") if is_return else untyped_kind(abrupt)
    before, after = (means.tolist() for means in _means(move, record))
    change = Change(
        train=(before[train], after[train]),
        val=(before[val], after[val]),
        train_at_exit=before[train] if move.source is None else _at_exit(record.trajectory, move.source),
        abruptness=abrupt,
        delay=delay_ratio(record.trajectory),
        is_return=is_return,
        has_source=move.source is not None,
    )
    return transition_kind(change)


def _at_exit(trajectory: Trajectory, state: int) -> float:
    """Return the median train credence over the last evaluations inside a state."""
    inside = trajectory.column("credence/train")[trajectory.column("state") == state]
    return float(np.median(inside[-MIN_EVALUATIONS:]))


def _means(move: Move, record: Record) -> tuple[Floats, Floats]:
    start = record.visit.points[0].profile if move.source is None else record.anchors[move.source]
    return record.strata.means(start), record.strata.means(move.profile)
