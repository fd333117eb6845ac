# SPDX-License-Identifier: Apache-2.0
"""Gather what the rules of the verdicts look at: one arm against the baseline, over the seeds that both have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, mean

from lightning_monocon.functional.paired_mean import seed_interval
from lightning_monocon.functional.red_flags import COMPACT_RATIO
from lightning_monocon.scorecard.causes import ROUNDING
from lightning_monocon.scorecard.kept import Kept, kept_of
from lightning_monocon.scorecard.ranking import Comparison, Family, compare
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.smallest import has_skill
from lightning_monocon.scorecard.truths.truth import Kind


@dataclass(frozen=True)
class Facts:
    """Hold what the rules look at: one arm against the baseline, means over the paired seeds.

    Accuracy stands for the first measure of the truth that judges, 5-NN accuracy for labels.

    Attributes:
        kind: Kind of truth.
        skilled: Whether the baseline finds more than the best constant answer.
        skill: Accuracy above the best constant answer in the arm's n99 dimensions, over the baseline's at full width.
        own_share: The same over the arm's own at full width.
        thin: Share of queries whose class has too few gallery rows to win the vote.
        dimension_ratio: n99 over the baseline's n99.
        dimension_interval: 95 % interval of the difference of both n99: over other rows and over seeds, whichever is
            wider, and a step wider at each end.
        baseline_dimension: n99 of the baseline.
        rmse_ratio: RMSE over the baseline's.
        variance_ratio: Total variance over the baseline's.
        fvu: Share of the queries' variance outside the n99 dimensions of the gallery.
        baseline_fvu: The same of the baseline.
        row_ratio: Rows of the gallery over the baseline's.
        distinct_ratio: Different rows of the gallery over the baseline's.
        whole: Accuracy at full width, against the baseline's.
        kept: Accuracy in the arm's n99 dimensions against the baseline at full width.
        rival: Accuracy in the arm's n99 dimensions against the baseline's PCA to as many.
        whole_loss: What ``whole`` shows about a loss of more than the margin.
        kept_loss: The same of ``kept``.
        doubts: Why the truth itself should be doubted.
    """

    kind: Kind
    skilled: bool
    skill: float
    own_share: float
    thin: float
    dimension_ratio: float
    dimension_interval: tuple[float, float]
    baseline_dimension: float
    rmse_ratio: float
    variance_ratio: float
    fvu: float
    baseline_fvu: float
    row_ratio: float
    distinct_ratio: float
    whole: Comparison
    kept: Comparison
    rival: Comparison
    whole_loss: Kept
    kept_loss: Kept
    doubts: tuple[str, ...] = ()

    @property
    def fewer(self) -> bool:
        """Whether n99 is lower than the baseline's by a fifth, and by more than the noise."""
        return self.dimension_ratio <= COMPACT_RATIO and self.dimension_interval[1] < 0


def gather(arm: Sequence[Score], baseline: Sequence[Score], card: Family | None = None) -> Facts:
    """Return the facts about an arm, over the seeds that the baseline has too.

    Args:
        arm: Scores of the arm, one per seed.
        baseline: Scores of the baseline, on the same queries.
        card: All comparisons of the card, among which a lead must stand out; None for an arm that is judged alone.
    """
    kind = baseline[0].truth.kind
    pairs = _paired(arm, baseline)
    arm = [ours for ours, _ in pairs]
    k, full = max(score.n99 for score in arm), max(score.dim for score in (*arm, *baseline))
    constant = fmean(score.constant for score in baseline)
    reached = fmean(score.value_at(k) for score in arm) - constant
    reachable = fmean(score.value for score in baseline) - constant
    own = fmean(score.value for score in arm) - constant
    whole, kept = compare(arm, baseline, full, card=card), compare(arm, baseline, k, full)
    return Facts(
        kind=kind,
        skilled=has_skill(baseline),
        skill=reached / reachable if reachable > 0 else 1.0,
        own_share=reached / own if own > 0 else 0.0,
        thin=max(score.thin / score.n_query for score in arm),
        dimension_ratio=_ratio(arm, baseline, lambda score: score.n99),
        dimension_interval=_dimension_interval(pairs),
        baseline_dimension=fmean(score.n99 for score in baseline),
        rmse_ratio=_ratio(arm, baseline, lambda score: score.rmse),
        variance_ratio=_ratio(arm, baseline, lambda score: score.total_variance),
        fvu=fmean(score.fvu for score in arm),
        baseline_fvu=fmean(score.fvu for score in baseline),
        row_ratio=_farthest([ours.n / theirs.n for ours, theirs in pairs]),
        distinct_ratio=_farthest([_distinct(ours) / _distinct(theirs) for ours, theirs in pairs]),
        whole=whole,
        kept=kept,
        rival=compare(arm, baseline, k, card=card),
        whole_loss=kept_of(whole, arm),
        kept_loss=kept_of(kept, arm),
        doubts=baseline[0].truth.warnings,
    )


def _paired(arm: Sequence[Score], baseline: Sequence[Score]) -> list[tuple[Score, Score]]:
    """Return arm and baseline by seed; if they share none, every score of the arm beside the baseline's first."""
    rows = {score.seed: score for score in baseline}
    return [(score, rows[score.seed]) for score in arm if score.seed in rows] or [(score, baseline[0]) for score in arm]


def _dimension_interval(pairs: Sequence[tuple[Score, Score]]) -> tuple[float, float]:
    """Return the interval of the difference of n99 over rows and over seeds, whichever is wider, and a step wider.

    Two models of the same rows err alike, so the interval over rows, as if they did not, is rather too wide.
    """
    differences = [float(ours.n99 - theirs.n99) for ours, theirs in pairs]
    reach = fmean(math.hypot(_reach(ours), _reach(theirs)) for ours, theirs in pairs)
    low, high = seed_interval(differences)
    centre = mean(differences)
    return min(low, centre - reach) - ROUNDING, max(high, centre + reach) + ROUNDING


def _reach(score: Score) -> float:
    """Return how far n99 may lie from its value over other rows: the farther end, as the other may be cut off."""
    low, high = score.n99_interval
    return max(score.n99 - low, high - score.n99)


def _distinct(score: Score) -> int:
    """Return the number of different inputs: rows that are codes of few values coincide without being copies."""
    return score.n if score.coded else score.distinct


def _farthest(ratios: Sequence[float]) -> float:
    return max(ratios, key=lambda ratio: abs(math.log(ratio)))


def _ratio(arm: Sequence[Score], baseline: Sequence[Score], figure: Callable[[Score], float]) -> float:
    below = fmean(figure(score) for score in baseline)
    return fmean(figure(score) for score in arm) / below if below > 0 else math.inf
