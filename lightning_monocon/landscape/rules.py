# SPDX-License-Identifier: Apache-2.0
"""Name the kind of a change of state.

The rules use credence alone: a fall of the effective dimension comes after generalisation in classifiers and before it
in contrastive training, so geometry may only qualify a state, never name a transition.

A gain of credence is judged against the room that chance leaves, 1 - 1/C for C classes: with two of them the credence
can rise by one half at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_monocon.landscape.events import JUMP_ABRUPTNESS

MEMORISED = 0.9
RISE = 0.3
DELAY = 5.0
TOGETHER = 1.25


def half_learnt(chance: float | None) -> float:
    """Return the credence halfway from chance, which is 0 where it is not known, to 1.

    Example:
        >>> half_learnt(0.5), half_learnt(None)
        (0.75, 0.5)
    """
    return 0.5 + 0.5 * (chance or 0.0)


@dataclass(frozen=True)
class Change:
    """Hold what the rules look at: mean credences before and after, and how the change came about.

    Attributes:
        train: Mean train credence before and after; NaN if no stratum is trained on.
        val: Mean held-out credence before and after.
        train_at_exit: Mean train credence as the source was left; the anchor may date from before it had settled.
        abruptness: Abruptness as in `lightning_monocon.landscape.abruptness`; NaN if not measured.
        delay: Steps until the held-out credence was halfway from chance to 1, over those until the train credence
            passed 0.9.
        is_return: Whether the target had been visited before.
        has_source: Whether a state had been confirmed before.
        lag: Steps until the held-out credence was halfway to its new value over those of the train credence.
        is_everywhere: Whether each stratum with a role rose by 0.3 of the room or more.
        overfitted: Kind and rule of a rise of the held-out fallibility, as in
            `lightning_monocon.landscape.noise_watch`; None without one.
        wrong: Mean credence in wrong labels before and after; NaN if no stratum has the role ``wrong``.
        room: One minus the credence by chance; the gains that the rules ask for are shares of it.
    """

    train: tuple[float, float]
    val: tuple[float, float]
    train_at_exit: float
    abruptness: float
    delay: float
    is_return: bool
    has_source: bool
    lag: float = math.nan
    is_everywhere: bool = False
    overfitted: tuple[str, str] | None = None
    wrong: tuple[float, float] = (math.nan, math.nan)
    room: float = 1.0

    @property
    def is_jump(self) -> bool:
        """Return whether the change was at least three times as fast as the states it joins."""
        return self.abruptness >= JUMP_ABRUPTNESS

    @property
    def is_together(self) -> bool:
        """Return whether all strata with a role rose in one jump, those that are trained on no earlier than others."""
        at_once = math.isnan(self.train[0]) or 1 / TOGETHER <= self.lag <= TOGETHER
        return self.has_source and self.is_jump and self.is_everywhere and at_once


def transition_kind(change: Change) -> tuple[str, str]:
    """Return the kind of a change of state, and the rule behind it in words.

    Example:
        >>> change = Change((0.88, 1.0), (0.0, 0.99), 1.0, 40.0, 30.0, is_return=False, has_source=True)
        >>> transition_kind(change)
        ('grokking', 'val +0.99 after train 1.00, abruptness 40.0 >= 3, delay 30.0 >= 5')
    """
    gain, learnt = change.val[1] - change.val[0], change.train[1] - change.train[0]
    rise, wrong = RISE * change.room, change.wrong[1] - change.wrong[0]
    if gain < rise and not change.is_return:
        if wrong >= 0.5 * change.room and learnt < 0.5 * change.room:
            return "noise_memorisation", f"wrong labels {wrong:+.2f}, train {learnt:+.2f}, val {gain:+.2f}"
        if change.overfitted is not None:
            return change.overfitted
    if gain <= -rise:
        return "forgetting", f"val {gain:+.2f}" + (" to a state seen before" if change.is_return else "")
    if change.is_return:
        return "return", "state seen before"
    if learnt >= 0.5 * change.room and abs(gain) < 0.2 * change.room:
        return "memorisation", f"train {learnt:+.2f}, val {gain:+.2f}"
    if gain >= rise:
        return _generalisation(change, gain)
    return untyped_kind(change.abruptness)


def untyped_kind(abruptness: float) -> tuple[str, str]:
    """Return the kind of a change that no rule names: ``jump`` or ``drift``, by its abruptness."""
    if abruptness >= JUMP_ABRUPTNESS:
        return "jump", f"abruptness {abruptness:.1f} >= {JUMP_ABRUPTNESS:g}"
    return "drift", f"abruptness {abruptness:.1f} < {JUMP_ABRUPTNESS:g}"


def _generalisation(change: Change, gain: float) -> tuple[str, str]:
    before, after = change.train_at_exit, change.train[1]
    if change.is_together:
        return "acquisition", f"all strata rise together, val {gain:+.2f}, abruptness {change.abruptness:.1f}"
    if change.has_source and not change.is_jump:
        return "gradual_generalisation", f"val {gain:+.2f}, abruptness {change.abruptness:.1f} < {JUMP_ABRUPTNESS:g}"
    if before >= MEMORISED and change.val[1] < MEMORISED * after:
        return "partial", f"val {gain:+.2f}, but {change.val[1]:.2f} where train is {after:.2f}"
    if change.delay < DELAY:
        return "comprehension", f"val {gain:+.2f}, delay {change.delay:.1f} < {DELAY:g}"
    if before >= MEMORISED:
        rule = f"abruptness {change.abruptness:.1f} >= {JUMP_ABRUPTNESS:g}, delay {change.delay:.1f} >= {DELAY:g}"
        return "grokking", f"val {gain:+.2f} after train {before:.2f}, {rule}"
    if change.has_source:
        return untyped_kind(change.abruptness)
    return "gradual_generalisation", f"val {gain:+.2f} with no state of memorisation resolved before"
