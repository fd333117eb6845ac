# SPDX-License-Identifier: Apache-2.0
"""Find states online: leader clustering of credence profiles, with hysteresis and a scale-free dwell.

    stay       d(f_t, anchor) <= outer
    leave      two evaluations in a row beyond outer; one alone is a spike
    excursion  left, but back within inner of the same anchor
    create     over a window of length min(rho t, max_window), at least 85 % of the profiles lie within inner of
               their median, the last one does, and the medians of the two halves differ by at most inner
    recognise  three evaluations in a row within inner of an anchor

Training runs in log-time, so a plateau is what lasts a fixed *fraction of the elapsed time*. Anchors never move:
a running mean would be dragged along by the transition it should detect.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from lightning_monocon.landscape.noise import Radii
from lightning_monocon.landscape.profiles import Point, pack, plateau, unpack
from lightning_monocon.landscape.strata import Profile, Strata

DEBOUNCE = 2
MIN_EVALUATIONS = 3
MAX_PENDING = 96


class Move(NamedTuple):
    """Hold what one evaluation did to the state.

    ``left`` is the first evaluation outside; ``entered`` is the first inside the target or back in the source;
    ``profile`` is the centre of the target, or the furthest point of a spike or an excursion.
    """

    kind: Literal["leave", "spike", "excursion", "enter"]
    left: int | None
    entered: int | None
    source: int | None
    target: int | None
    profile: Profile
    is_new: bool = False


class Clustering:
    """Hold the states seen so far and tell which one is occupied.

    Args:
        strata: Strata of the probe, which define the distance.
        window: Share rho of the elapsed steps that a plateau must last.
        max_window: Cap of the window in steps, for stationary dynamics; None for dynamics that age, such as training.
    """

    def __init__(self, strata: Strata, window: float, max_window: int | None) -> None:
        self.strata, self.window, self.max_window = strata, window, max_window
        self.anchors: list[Profile] = []
        self.current: int | None = None
        self.pending: list[Point] = []
        self.outside = 0  # evaluations in a row beyond `outer` while the state is not left
        self.opened: int | None = None  # first pending step

    @property
    def is_away(self) -> bool:
        """Return whether the last state was left and no other is confirmed."""
        return self.current is not None and self.outside >= DEBOUNCE

    @property
    def diameter(self) -> float | None:
        """Return the largest distance between two anchors; None while there are fewer than two."""
        pairs = [(a, b) for i, a in enumerate(self.anchors) for b in self.anchors[:i]]
        return max((float(self.strata.distance(a, b)) for a, b in pairs), default=None)

    def update(self, step: int, profile: Profile, radii: Radii, *, may_create: bool = True) -> list[Move]:
        """Add the quantised profile ``(P,)`` of one evaluation and return what it did; steps must increase."""
        moves: list[Move] = []
        if self.current is not None:
            distance = float(self.strata.distance(profile, self.anchors[self.current]))
            if distance <= (radii.inner if self.is_away else radii.outer):
                moves = self._settle_back(self.current, step)
                return moves if distance <= radii.inner else []  # lingering at the outer radius is not a spike
        self._remember(Point(step, profile))
        if self.current is not None:
            moves = self._go_out(profile)
        if self.current is None or self.is_away:
            moves += self._recognise(radii) or self._create(step, radii, may_create)
        return moves

    def _settle_back(self, state: int, step: int) -> list[Move]:
        """End whatever was pending: the run is inside the current state again."""
        if not self.pending:
            return []
        kind: Literal["excursion", "spike"] = "excursion" if self.is_away else "spike"
        profiles = np.stack([p.profile for p in self.pending])
        furthest = profiles[int(self.strata.distance(profiles, self.anchors[state]).argmax())]
        move = Move(kind, self.opened, step, state, state, furthest)
        self._arrive(state)
        return [move]

    def _go_out(self, profile: Profile) -> list[Move]:
        if self.is_away:
            return []
        self.outside += 1
        return [Move("leave", self.opened, None, self.current, None, profile)] if self.is_away else []

    def _remember(self, point: Point) -> None:
        if not self.pending:
            self.opened = point.step
        since = point.step - self._span(point.step)
        recent = [p for p in self.pending if p.step >= since]
        kept = recent if len(recent) >= MIN_EVALUATIONS - 1 else self.pending[1 - MIN_EVALUATIONS :]
        if len(kept) >= MAX_PENDING:  # halve the older half, keep the newest whole
            half = len(kept) // 2
            kept = [*kept[:half:2], *kept[half:]]
        self.pending = [*kept, point]

    def _span(self, step: int) -> float:
        scale_free = self.window * step
        return scale_free if self.max_window is None else min(scale_free, float(self.max_window))

    def _recognise(self, radii: Radii) -> list[Move]:
        if len(self.pending) < MIN_EVALUATIONS:
            return []
        last = self.pending[-MIN_EVALUATIONS:]
        profiles = np.stack([p.profile for p in last])
        for state in self._nearest(profiles[-1]):
            if state != self.current and self.strata.distance(profiles, self.anchors[state]).max() <= radii.inner:
                return [self._enter(state, last[0].step, self.anchors[state])]
        return []

    def _create(self, step: int, radii: Radii, may_create: bool) -> list[Move]:
        window = self._full_window(step) if may_create or self.anchors else None
        centre = None if window is None else plateau(window, self.strata, radii.inner)
        if window is None or centre is None:
            return []
        inside = self.strata.distance(np.stack([p.profile for p in window]), centre) <= radii.inner
        entered = window[int(np.argmax(inside))].step
        nearest = next(iter(self._nearest(centre)), None)
        if nearest is None or self.strata.distance(centre, self.anchors[nearest]) > radii.outer:
            return [self._enter(len(self.anchors), entered, centre, is_new=True)] if may_create else []
        if nearest == self.current:
            return self._settle_back(nearest, entered)
        return [self._enter(nearest, entered, centre)]

    def _full_window(self, step: int) -> list[Point] | None:
        """Return the pending points of the dwell window; None if they do not fill it."""
        if len(self.pending) < MIN_EVALUATIONS or self.opened is None:
            return None
        span = self._span(step)
        window = [p for p in self.pending if p.step >= step - span]
        if len(window) < MIN_EVALUATIONS:
            window = self.pending[-MIN_EVALUATIONS:]
        is_full = self.opened <= step - span or window[-1].step - window[0].step >= span
        return window if is_full else None

    def _nearest(self, profile: Profile) -> list[int]:
        distances = [float(self.strata.distance(profile, anchor)) for anchor in self.anchors]
        return [int(i) for i in np.argsort(distances, kind="stable")]

    def _enter(self, state: int, entered: int, profile: Profile, *, is_new: bool = False) -> Move:
        left = None if self.current is None else self.opened
        move = Move("enter", left, entered, self.current, state, profile, is_new)
        if is_new:
            self.anchors.append(profile)
        self._arrive(state)
        return move

    def _arrive(self, state: int) -> None:
        self.current, self.pending, self.outside, self.opened = state, [], 0, None

    def state_dict(self) -> dict[str, Any]:
        """Return anchors, counters and pending profiles as plain values and float16 tensors."""
        return {
            "anchors": pack(self.anchors),
            "current": self.current,
            "pending_steps": [p.step for p in self.pending],
            "pending": pack([p.profile for p in self.pending]),
            "outside": self.outside,
            "opened": self.opened,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.anchors = unpack(state["anchors"])
        self.pending = [Point(*p) for p in zip(state["pending_steps"], unpack(state["pending"]), strict=True)]
        self.current, self.outside = state["current"], state["outside"]
        self.opened = state["opened"]
