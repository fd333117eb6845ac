# SPDX-License-Identifier: Apache-2.0
"""Qualify a state by its geometry: the effective rank and the participation ratio of the probe's embeddings.

    compaction         either falls by 30 % or more inside one state, mean credences moving by less than 0.05
    collapse           the same while the train or validation credence falls, or the effective rank is below 2
    early_compression  the effective rank falls by half or more while the validation credence is below 0.2

Falls are measured from the highest value since the reference was last reset: at the start, at a change of state
and at each event, so that a fall of 30 % and another of 30 % are two events.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

FALL = 0.30
EARLY_FALL = 0.50
EARLY_VAL = 0.20
STEADY = 0.05
COLLAPSED_RANK = 2.0


FALLING = ("effective_rank", "participation_ratio")
"""The dimensions whose falls qualify a state; alpha-ReQ and n99 are recorded beside them."""


class Geometry(NamedTuple):
    """Hold the effective rank, participation ratio, alpha-ReQ and n99 of the probe's embeddings; NaN: not measured."""

    effective_rank: float = math.nan
    participation_ratio: float = math.nan
    alpha_req: float = math.nan
    n99: float = math.nan


class Qualification(NamedTuple):
    """Hold a qualifier with the step of the reference from which the dimension fell, and the reason in words."""

    kind: str
    since: int
    reason: str


class GeometryWatch:
    """Follow the falls of the two dimensions.

    ``references`` holds, per dimension, the highest value, its step, and the (train, val) credences there.
    """

    def __init__(self) -> None:
        self.references: dict[str, tuple[float, int, float, float]] = {}
        self.early: tuple[float, int] | None = None  # highest rank while the validation credence is low
        self.had_early = False
        self.is_collapsed = False

    def reset(self) -> None:
        """Forget the references at a change of state."""
        self.references = {}

    def update(
        self, step: int, geometry: Geometry, train: float, val: float, *, is_settled: bool = True
    ) -> list[Qualification]:
        """Add one measurement and return what it qualifies.

        ``train`` and ``val`` are mean credences. While no state is settled, a fall is not ``compaction``.
        """
        early = self._early(step, geometry.effective_rank, val)
        collapse = self._collapse(step, geometry.effective_rank)
        falls = [q for name in FALLING if (q := self._fall(name, step, geometry, (train, val), is_settled))]
        kinds = early + collapse + falls[:1]
        if kinds:  # the next fall is measured from here
            self.reset()
            for name in FALLING:
                self._fall(name, step, geometry, (train, val), is_settled)
        return [q for i, q in enumerate(kinds) if q.kind not in {p.kind for p in kinds[:i]}]

    def _early(self, step: int, rank: float, val: float) -> list[Qualification]:
        self.had_early |= val >= EARLY_VAL  # later falls are not early, even if the credence falls again
        if self.had_early or math.isnan(rank):
            return []
        if self.early is None or rank > self.early[0]:
            self.early = (rank, step)
        if rank > (1 - EARLY_FALL) * self.early[0]:
            return []
        self.had_early = True
        return [
            Qualification("early_compression", self.early[1], f"rank {self.early[0]:.1f} to {rank:.1f}, val {val:.2f}")
        ]

    def _collapse(self, step: int, rank: float) -> list[Qualification]:
        was, self.is_collapsed = self.is_collapsed, rank < COLLAPSED_RANK or (self.is_collapsed and math.isnan(rank))
        if was or not self.is_collapsed:
            return []
        return [Qualification("collapse", step, f"effective rank {rank:.2f} < {COLLAPSED_RANK:g}")]

    def _fall(
        self, name: str, step: int, geometry: Geometry, credences: tuple[float, float], is_settled: bool
    ) -> Qualification | None:
        value = float(getattr(geometry, name))
        if math.isnan(value):
            return None
        reference = self.references.get(name)
        if reference is None or value >= reference[0]:
            self.references[name] = (value, step, *credences)
            return None
        highest, since, train, val = reference
        moved = (credences[0] - train, credences[1] - val)
        if value > (1 - FALL) * highest:
            return None
        reason = f"{name} {highest:.1f} to {value:.1f}"
        if min(moved) < -STEADY:
            return Qualification("collapse", since, f"{reason}, credence {min(moved):+.2f}")
        is_compaction = is_settled and max(moved) < STEADY and credences[1] >= EARLY_VAL
        return Qualification("compaction", since, reason) if is_compaction else None

    def state_dict(self) -> dict[str, Any]:
        """Return references and flags as plain values."""
        return {
            "references": {name: list(reference) for name, reference in self.references.items()},
            "early": None if self.early is None else list(self.early),
            "had_early": self.had_early,
            "is_collapsed": self.is_collapsed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.references = {k: (v[0], v[1], v[2], v[3]) for k, v in state["references"].items()}
        self.early = None if state["early"] is None else (state["early"][0], state["early"][1])
        self.had_early, self.is_collapsed = state["had_early"], state["is_collapsed"]
