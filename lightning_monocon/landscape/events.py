# SPDX-License-Identifier: Apache-2.0
"""Define what the tracker reports: events, their kinds, and the plain form in which they are stored."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, field, fields
from typing import Any

from lightning_monocon.functional.checks import check_choice

TRANSITIONS = (
    "memorisation",
    "grokking",
    "comprehension",
    "gradual_generalisation",
    "partial",
    "acquisition",
    "noise_memorisation",
    "overfitting",
    "forgetting",
    "return",
    "jump",
    "drift",
)
"""Changes of state, which make the edges of the graph; those of `FALLIBLE` may also happen inside a state."""

FALLIBLE = ("noise_memorisation", "overfitting")
"""Kinds of a rise of the held-out fallibility: with wrong labels learnt meanwhile, or without."""

QUALIFIERS = ("instability", "completion", "compaction", "early_compression", "collapse", "emergence")
"""Events inside a state or between two."""

NOTICES = ("provisional", "unresolvable")
"""Events of the tracker itself: a state was left but none is confirmed yet, or the probe is too noisy."""

KINDS = TRANSITIONS + QUALIFIERS + NOTICES

JUMP_ABRUPTNESS = 3.0


@dataclass(frozen=True, eq=False)
class Event:
    """Hold one thing that happened on the landscape.

    Attributes:
        kind: One of `KINDS`. ``jump`` and ``drift`` are changes of state that no typing rule names. ``provisional``
            is settled by the next change of state, or by the next ``instability`` if the run was back.
        step_left: First evaluation outside the source, the last such before halfway. None without a source.
        step_entered: First evaluation inside the target.
        step_confirmed: Evaluation at which the event was confirmed. None while it is provisional.
        source: State before. None for the first state.
        target: State after. None if none was reached.
        abruptness: Log-time speed across the change over that inside the two states; NaN if not measured.
        change: Change of the mean credence, per stratum.
        thresholds: Radii and noise floor in force when the event was confirmed.
        group: Group that emerged, for ``emergence``.
        is_return: Whether the target had been visited before.
        barrier: Highest held-out fallibility on the way over the lowest in the source, in nats.
        reason: Rule that gave the event its kind, in words.
    """

    kind: str
    step_left: int | None = None
    step_entered: int | None = None
    step_confirmed: int | None = None
    source: int | None = None
    target: int | None = None
    abruptness: float = math.nan
    change: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    group: str | None = None
    is_return: bool = False
    barrier: float = math.nan
    reason: str = ""

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        # one NaN object, so that two equal events compare equal (tuples compare identity first)
        for name in ("abruptness", "barrier"):
            if math.isnan(getattr(self, name)):
                object.__setattr__(self, name, math.nan)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and astuple(self) == astuple(other)

    def __hash__(self) -> int:
        return hash((self.kind, self.step_left, self.step_entered, self.step_confirmed, self.source, self.target))

    @property
    def is_transition(self) -> bool:
        """Return whether the event is a change of state."""
        return self.kind in TRANSITIONS and (self.source is None or self.source != self.target)

    @property
    def is_jump(self) -> bool:
        """Return whether the event is a change of state at least three times as fast as the states it joins."""
        return self.is_transition and self.abruptness >= JUMP_ABRUPTNESS

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and dicts; NaN becomes None, since JSON has no NaN."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Event:
        """Return the event that `to_dict` described."""
        measured = {k: math.nan if plain[k] is None else plain[k] for k in ("abruptness", "barrier")}
        return cls(**{**plain, **measured})
