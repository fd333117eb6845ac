# SPDX-License-Identifier: Apache-2.0
"""The words of the scorecard: every rule, its threshold and its reason, in the order in which they are asked.

A low n99 and a low reconstruction error are both won by collapse, so no rule looks at them alone: each asks what the
queries still find when only those dimensions are kept, against the baseline on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightning_monocon.scorecard.facts import Facts, gather
from lightning_monocon.scorecard.ranking import Comparison
from lightning_monocon.scorecard.scores import Score

NO_SKILL = 0.1
"""Of the baseline's accuracy above chance, the share below which an arm has learnt nothing to speak of."""

COLLAPSED_SHARE = 0.5
"""Of an arm's own accuracy above chance, the share that must survive in its n99 dimensions."""

COMPACT_RATIO = 0.8
"""n99 must fall below this share of the baseline's: a tenth up or down is what another seed gives."""

ACCURACY_LOSS = 0.01
"""Accuracy that may be lost beyond noise, one point; more is a trade, not compactness."""

CONE_VARIANCE = 0.5
"""Total variance below this share of the baseline's moves the RMSE by more than any change of shape."""


@dataclass(frozen=True)
class Rule:
    """A word, when it applies, and why."""

    word: str
    applies: Callable[[Facts], bool]
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The word for an arm, the reason for the rule, and the facts that it was judged by (None for the baseline)."""

    word: str
    reason: str
    facts: Facts | None = None


def _loses(comparison: Comparison) -> bool:
    # Over queries alone: two seeds that disagree must not pass a loss off as noise.
    return comparison.query_interval[1] < 0 and comparison.difference < -ACCURACY_LOSS


RULES: tuple[Rule, ...] = (
    Rule(
        "smaller sample",
        lambda f: not f.same_sample,
        "n99 grows with the number of different rows, so it says nothing between galleries that differ in it",
    ),
    Rule(
        "collapsed",
        lambda f: f.skill < NO_SKILL or f.own_share < COLLAPSED_SHARE,
        "the dimensions that hold 99 % of the variance do not hold the classes",
    ),
    Rule(
        "narrower cone only",
        lambda f: f.variance_ratio < CONE_VARIANCE and f.rmse_ratio < 1 and f.dimension_ratio > COMPACT_RATIO,
        "all rows moved together: the error shrank with the total variance, the number of dimensions did not",
    ),
    Rule(
        "under-trained",
        lambda f: f.dimension_ratio <= COMPACT_RATIO and _loses(f.kept),
        "fewer dimensions, but less accuracy: a short run looks like this, and so does too narrow a model; train "
        "longer before n99 means anything",
    ),
    Rule(
        "compact",
        lambda f: f.dimension_ratio <= COMPACT_RATIO,
        "fewer dimensions hold 99 % of the variance, and they hold the classes",
    ),
    Rule(
        "less accurate",
        lambda f: _loses(f.whole),
        "no fewer dimensions, and less accuracy",
    ),
    Rule(
        "more accurate",
        lambda f: f.whole.low > 0,
        "no fewer dimensions, but more accuracy",
    ),
    Rule(
        "not distinguishable from the baseline",
        lambda f: True,
        "neither the number of dimensions nor the accuracy differs by more than the noise",
    ),
)

RULES_BY_WORD = {rule.word: rule for rule in RULES}
ALL_EQUAL = "all rows of the gallery are equal"


def judge(arm: Sequence[Score], baseline: Sequence[Score]) -> Verdict:
    """Give the word of the first rule that applies to an arm.

    Args:
        arm: scores of the arm, one per seed.
        baseline: scores of the baseline, measured at the arm's n99 as well, on the same queries.
    """
    if any(score.n99 == 0 for score in arm):
        return Verdict("collapsed", ALL_EQUAL)
    facts = gather(arm, baseline)
    rule = next(rule for rule in RULES if rule.applies(facts))
    return Verdict(rule.word, rule.reason, facts)


def judge_alone(score: Score) -> Verdict:
    """Give the word for an embedding that has no baseline: only a collapse shows without one."""
    if score.n99 == 0:
        return Verdict("collapsed", ALL_EQUAL)
    noise = 2 * math.sqrt(score.chance * (1 - score.chance) / score.n_query)
    above = score.knn_accuracy - score.chance
    if above <= noise:
        return Verdict("collapsed", "the neighbours find no more than always giving the commonest label would")
    if score.knn_accuracy_at(score.n99) - score.chance < COLLAPSED_SHARE * above:
        return Verdict("collapsed", RULES_BY_WORD["collapsed"].reason)
    return Verdict("not judged", "compact is a comparison: give a baseline, the embeddings that were there before")
