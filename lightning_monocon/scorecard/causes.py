# SPDX-License-Identifier: Apache-2.0
"""Tell what a monotonic head owes to its constraint and what to its start, from arms that differ in one thing only.

The reference start makes a head's output nearly one-dimensional, constraint or not. So a compact monotonic arm proves
nothing about monotonicity until a free head that starts as the same function, trained alike, is less compact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_monocon.functional.paired_mean import seed_interval
from lightning_monocon.scorecard.ranking import Comparison, compare
from lightning_monocon.scorecard.scores import Score

Cause = Literal["constraint", "start"]

ROUNDING = 1.0
"""n99 comes in whole steps: two of them, rounded up, may differ by up to one step more or less than what they stand
for. Without it two seeds that happen to agree would pass for certainty."""

PAIRS: tuple[tuple[Cause, str, str], ...] = (
    ("constraint", "monotonic", "mlp-squared"),
    ("constraint", "monotonic-reference", "mlp-squared"),
    ("constraint", "monotonic-identity", "mlp-identity"),
    ("constraint", "monotonic-lognormal", "mlp-lognormal"),
    ("start", "mlp-squared", "mlp"),
    ("start", "mlp-identity", "mlp"),
    ("start", "mlp-lognormal", "mlp"),
)
"""Arms that differ in one thing: what it is, the arm that has it, the arm that does not."""


@dataclass(frozen=True)
class Effect:
    """Hold the effect of one thing: ``arm`` has it, ``twin`` does not, all else is equal.

    Attributes:
        n99: means over the seeds that both have, of ``arm`` and of ``twin``.
        n99_interval: 95 % interval of their difference over seeds (Student's t), a step wider at each end.
        seeds: Number of paired seeds.
        kept: Accuracy of ``arm`` against ``twin`` when both keep the smaller n99.
        whole: The same at full width.
    """

    cause: Cause
    arm: str
    twin: str
    n99: tuple[float, float]
    n99_interval: tuple[float, float]
    seeds: int
    kept: Comparison
    whole: Comparison

    @property
    def compacts(self) -> bool:
        """Whether n99 fell by more than the seeds' noise; never on one seed."""
        return self.seeds > 1 and self.n99_interval[1] < 0


def effects(arms: Mapping[str, Sequence[Score]]) -> tuple[Effect, ...]:
    """Return the effects that the given arms can tell apart, in the order of `PAIRS`."""
    return tuple(_effect(cause, arms[arm], arms[twin]) for cause, arm, twin in PAIRS if {arm, twin} <= set(arms))


def _effect(cause: Cause, arm: Sequence[Score], twin: Sequence[Score]) -> Effect:
    others = {score.seed: score.n99 for score in twin}
    pairs = [(score.n99, others[score.seed]) for score in arm if score.seed in others]
    differences = [float(ours - theirs) for ours, theirs in pairs]
    means = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
    low, high = seed_interval(differences)
    k = max(1, min(max(score.n99 for score in scores) for scores in (arm, twin)))
    return Effect(
        cause=cause,
        arm=arm[0].arm,
        twin=twin[0].arm,
        n99=(means[0], means[1]),
        n99_interval=(low - ROUNDING, high + ROUNDING),
        seeds=len(pairs),
        kept=compare(arm, twin, k),
        whole=compare(arm, twin, max(score.dim for score in (*arm, *twin))),
    )
