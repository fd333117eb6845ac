# SPDX-License-Identifier: Apache-2.0
"""Turn a move of the clustering into the event that is reported."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lightning_monocon.landscape.barriers import semantic_barrier
from lightning_monocon.landscape.clustering import MIN_EVALUATIONS, Move
from lightning_monocon.landscape.events import Event
from lightning_monocon.landscape.roles import Role
from lightning_monocon.landscape.rules import MEMORISED, RISE, Change, half_learnt, transition_kind, untyped_kind
from lightning_monocon.landscape.strata import Floats, Profile, Strata
from lightning_monocon.landscape.trajectory import Trajectory
from lightning_monocon.landscape.visit import Visit


class Record(NamedTuple):
    """Hold what a move is compared with.

    ``overfitted`` is kind and rule of a rise of the held-out fallibility, and ``chance`` 0 where it is not known.
    """

    strata: Strata
    trajectory: Trajectory
    visit: Visit
    anchors: list[Profile]
    thresholds: dict[str, float]
    overfitted: tuple[str, str] | None = None
    chance: float = 0.0


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


def delay_ratio(trajectory: Trajectory, chance: float = 0.0) -> float:
    """Return the steps until the held-out strata were half learnt over those until the train credence reached 0.9."""
    generalised = trajectory.role_crossing("held_out", half_learnt(chance))
    return generalised / max(trajectory.role_crossing("train", MEMORISED), 1.0)


def _transition(move: Move, shared: dict[str, Any], record: Record) -> Event | None:
    abrupt = record.visit.abruptness(move, record.strata, record.anchors)
    is_return = not move.is_new
    kind, reason = _kind(move, abrupt, is_return, record)
    if move.source is None and kind in ("jump", "drift"):
        return None
    barrier = semantic_barrier(record.trajectory, move.source, move.entered)
    return Event(kind, abruptness=abrupt, is_return=is_return, barrier=barrier, reason=reason, **shared)


def _kind(move: Move, abrupt: float, is_return: bool, record: Record) -> tuple[str, str]:
    roles, names = record.trajectory.roles, record.strata.names
    if not roles.held_out:
        return ("return", "state seen before") if is_return else untyped_kind(abrupt)
    strata = _means(move, record)
    played: tuple[Role, ...] = ("train", "held_out", "wrong")
    train, val, wrong = ([float(roles.mean(role, names, means)) for means in strata] for role in played)
    gains = [float(strata[1][names.index(n)] - strata[0][names.index(n)]) for n in (*roles.train, *roles.held_out)]
    change = Change(
        train=(train[0], train[1]),
        val=(val[0], val[1]),
        train_at_exit=train[0] if move.source is None else _at_exit(record.trajectory, move.source),
        abruptness=abrupt,
        delay=delay_ratio(record.trajectory, record.chance),
        is_return=is_return,
        has_source=move.source is not None,
        lag=_halfway(record, "held_out", val) / _halfway(record, "train", train),
        is_everywhere=min(gains) >= RISE * (1 - record.chance),
        overfitted=record.overfitted,
        wrong=(wrong[0], wrong[1]),
        room=1 - record.chance,
    )
    return transition_kind(change)


def _at_exit(trajectory: Trajectory, state: int) -> float:
    """Return the median train credence over the last evaluations inside a state."""
    inside = trajectory.role("train")[trajectory.column("state") == state]
    return float(np.median(inside[-MIN_EVALUATIONS:]))


def _halfway(record: Record, role: Role, ends: list[float]) -> float:
    """Return one plus the first step of the visit at which a role is halfway between two credences; NaN if none."""
    steps = record.trajectory.column("step")
    share = (record.trajectory.role(role) - ends[0]) / ((ends[1] - ends[0]) or math.nan)
    reached = steps[(share >= 0.5) & (steps >= record.visit.points[0].step)]
    return float(reached[0]) + 1.0 if len(reached) else math.nan


def _means(move: Move, record: Record) -> tuple[Floats, Floats]:
    start = record.visit.points[0].profile if move.source is None else record.anchors[move.source]
    return record.strata.means(start), record.strata.means(move.profile)
