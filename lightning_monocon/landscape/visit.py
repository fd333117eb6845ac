# SPDX-License-Identifier: Apache-2.0
"""Keep the profiles of the visit in progress, on which abruptness is measured."""

from __future__ import annotations

import math
from typing import Any

from lightning_monocon.landscape.abruptness import Axis, abruptness
from lightning_monocon.landscape.clustering import Move
from lightning_monocon.landscape.profiles import Point, pack, unpack
from lightning_monocon.landscape.strata import Profile, Strata

MAX_POINTS = 256


class Visit:
    """Keep the points since the current state was entered, at most 256: the older half is thinned."""

    def __init__(self) -> None:
        self.points: list[Point] = []

    def add(self, point: Point) -> None:
        """Add one evaluation."""
        if len(self.points) >= MAX_POINTS:
            half = MAX_POINTS // 2
            self.points = [*self.points[:half:2], *self.points[half:]]
        self.points = [*self.points, point]

    def abruptness(self, move: Move, strata: Strata, anchors: list[Profile]) -> float:
        """Return the abruptness of a move between two states; NaN without a source."""
        if move.source is None or move.target is None or move.left is None or move.entered is None:
            return math.nan
        axis = Axis(strata, anchors[move.source], anchors[move.target])
        return abruptness(self.points, move.left, move.entered, axis)

    def exit(self, move: Move, strata: Strata, anchors: list[Profile], outer: float) -> int | None:
        """Return the step at which a move left its source for good; the move's own if the path does not tell."""
        if move.source is None or move.target is None or move.left is None:
            return move.left
        away = [p for p in self.points if p.step >= move.left]
        last = Axis(strata, anchors[move.source], anchors[move.target]).exit(away, outer) if away else None
        return move.left if last is None else int(last)

    def begin(self, entered: int) -> None:
        """Start the visit of a state entered at step ``entered``."""
        self.points = [p for p in self.points if p.step >= entered]

    def state_dict(self) -> dict[str, Any]:
        """Return steps and profiles."""
        return {"steps": [p.step for p in self.points], "profiles": pack([p.profile for p in self.points])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.points = [Point(*p) for p in zip(state["steps"], unpack(state["profiles"]), strict=True)]
