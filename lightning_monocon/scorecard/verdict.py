# SPDX-License-Identifier: Apache-2.0
"""Judge an arm in words: every rule, its threshold and its reason, in the order in which they are asked.

A low n99 and a low reconstruction error are both won by collapse, so no rule looks at them alone: each asks what the
queries still find when only those dimensions are kept, against the baseline on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from lightning_monocon.functional.red_flags import (
    ACCURACY_LOSS,
    ALL_EQUAL,
    COLLAPSED,
    COLLAPSED_SHARE,
    COMPACT_RATIO,
    LEAKED_SHARE,
    NO_SKILL,
    ROWS_PER_FEATURE,
    UNDER_TRAINED,
    red_flags,
)
from lightning_monocon.runs.record import History, late_change
from lightning_monocon.scorecard.ranking import Comparison, Family, compare
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.smallest import has_skill

CONE_VARIANCE = 0.5
"""Total variance below this share of the baseline's moves the RMSE by more than any change of shape."""

SAME_SAMPLE = 0.01
"""Share of different rows that a gallery may lack against the baseline's; n99 grows with them."""

STILL_LEARNING = 0.01
"""Accuracy gained over the last quarter of a run, one point, above which the run stopped too early."""

ACCURACY = "val/knn_accuracy"
"""Metric of a run's record that tells whether it was still learning."""


@dataclass(frozen=True)
class Facts:
    """Hold what the rules look at: one arm against the baseline, means over the paired seeds.

    Attributes:
        skill: Accuracy above chance in the arm's n99 dimensions, over the baseline's at full width.
        own_share: The same over the arm's own at full width.
        dimension_ratio: n99 over the baseline's n99.
        rmse_ratio: RMSE over the baseline's.
        variance_ratio: Total variance over the baseline's.
        same_sample: Whether both galleries have as many rows, and as many different ones to a hundredth, without which
            n99 cannot be compared.
        whole: Accuracy at full width, against the baseline's.
        kept: Accuracy in the arm's n99 dimensions against the baseline at full width.
        rival: Accuracy in the arm's n99 dimensions against the baseline's PCA to as many.
    """

    skill: float
    own_share: float
    dimension_ratio: float
    rmse_ratio: float
    variance_ratio: float
    same_sample: bool
    whole: Comparison
    kept: Comparison
    rival: Comparison


@dataclass(frozen=True)
class Rule:
    """Hold a word, when it applies, and why."""

    word: str
    applies: Callable[[Facts], bool]
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Hold the word for an arm, the reason for the rule, and the facts behind it (None for the baseline)."""

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
    Rule("collapsed", lambda f: f.skill < NO_SKILL or f.own_share < COLLAPSED_SHARE, COLLAPSED),
    Rule(
        "narrower cone only",
        lambda f: f.variance_ratio < CONE_VARIANCE and f.rmse_ratio < 1 and f.dimension_ratio > COMPACT_RATIO,
        "all rows moved together: the error shrank with the total variance, the number of dimensions did not",
    ),
    Rule("under-trained", lambda f: f.dimension_ratio <= COMPACT_RATIO and _loses(f.kept), UNDER_TRAINED),
    Rule(
        "compact",
        lambda f: f.dimension_ratio <= COMPACT_RATIO,
        "fewer dimensions hold 99 % of the variance, and they hold the classes",
    ),
    Rule("less accurate", lambda f: _loses(f.whole), "no fewer dimensions, and less accuracy"),
    Rule("more accurate", lambda f: f.whole.ahead, "no fewer dimensions, but more accuracy"),
    Rule(
        "not distinguishable from the baseline",
        lambda f: True,
        "neither the number of dimensions nor the accuracy differs by more than the noise",
    ),
)


def judge(arm: Sequence[Score], baseline: Sequence[Score], card: Family | None = None) -> Verdict:
    """Return the verdict of the first rule that applies to an arm.

    Args:
        arm: Scores of the arm, one per seed.
        baseline: Scores of the baseline, measured at the arm's n99 as well, on the same queries.
        card: All comparisons of the card, among which a lead must stand out; None for an arm that is judged alone.
    """
    if any(score.n99 == 0 for score in arm):
        return Verdict("collapsed", ALL_EQUAL)
    facts = gather(arm, baseline, card)
    rule = next(rule for rule in RULES if rule.applies(facts))
    return Verdict(rule.word, rule.reason, facts)


def judge_alone(score: Score) -> Verdict:
    """Return the verdict on an embedding that has no baseline: only a collapse shows without one."""
    if score.n99 == 0:
        return Verdict("collapsed", ALL_EQUAL)
    if not has_skill([score]):
        return Verdict("collapsed", "the neighbours find no more than always giving the commonest label would")
    if score.value_at(score.n99) - score.chance < COLLAPSED_SHARE * (score.value - score.chance):
        return Verdict("collapsed", COLLAPSED)
    return Verdict("not judged", "compact is a comparison: give a baseline, the embeddings that were there before")


def flags(score: Score) -> tuple[str, ...]:
    """Return what a reader of one score's figures must know before believing them: its `red_flags`, and a leak."""
    fewer = f"{score.distinct} rows, fewer than {ROWS_PER_FEATURE} x {score.dim}"
    words = {
        "narrow_cone": f"narrow cone (mean cosine {score.mean_cosine:.4f}): read FVU, not RMSE",
        "small_sample": f"small sample ({fewer}): n99 would grow",
        "repeated_rows": f"repeated rows ({score.n - score.distinct} of {score.n} in the gallery)",
    }
    # Not the effective dimension: whether a low n99 is a collapse is for the verdict to say.
    figures = {"mean_cosine": score.mean_cosine, "rows": score.n, "distinct_rows": score.distinct}
    found = [words[flag.name] for flag in red_flags(figures, score.dim) if flag.name in words]
    if score.leaked > LEAKED_SHARE * score.n_query:
        found.append(f"leak ({score.leaked} of {score.n_query} queries are rows of the gallery)")
    return tuple(found)


def training_flags(histories: Sequence[History]) -> tuple[str, ...]:
    """Return a warning if the runs of an arm were still learning when they stopped; nothing without a record."""
    changes = [late_change(history, ACCURACY) for history in histories]
    gained = fmean(changes) if changes else math.nan
    if not gained > STILL_LEARNING:
        return ()
    return (f"still learning ({ACCURACY} rose {100 * gained:.1f} points in the last quarter of the run): train longer",)


def gather(arm: Sequence[Score], baseline: Sequence[Score], card: Family | None = None) -> Facts:
    """Return the facts that the rules look at, over the seeds that the baseline has too."""
    paired = {score.seed for score in baseline}
    arm = [score for score in arm if score.seed in paired] or arm
    rows = {score.seed: score for score in baseline}
    k, full = max(score.n99 for score in arm), max(score.dim for score in (*arm, *baseline))
    chance = fmean(score.chance for score in baseline)
    reached = fmean(score.value_at(k) for score in arm) - chance
    reachable = fmean(score.value for score in baseline) - chance
    own = fmean(score.value for score in arm) - chance
    return Facts(
        skill=reached / reachable if reachable > 0 else 1.0,
        own_share=reached / own if own > 0 else 0.0,
        dimension_ratio=_ratio(arm, baseline, "n99"),
        rmse_ratio=_ratio(arm, baseline, "rmse"),
        variance_ratio=_ratio(arm, baseline, "total_variance"),
        same_sample=all(_same_sample(score, rows.get(score.seed, score)) for score in arm),
        whole=compare(arm, baseline, full, card=card),
        kept=compare(arm, baseline, k, full),
        rival=compare(arm, baseline, k, card=card),
    )


def _same_sample(score: Score, baseline: Score) -> bool:
    return score.n == baseline.n and score.distinct >= (1 - SAME_SAMPLE) * baseline.distinct


def _ratio(arm: Sequence[Score], baseline: Sequence[Score], name: str) -> float:
    below = fmean(getattr(score, name) for score in baseline)
    return fmean(getattr(score, name) for score in arm) / below if below > 0 else float("inf")
