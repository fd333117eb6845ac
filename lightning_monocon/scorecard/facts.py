# SPDX-License-Identifier: Apache-2.0
"""What the verdicts are judged by: one arm against the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lightning_monocon.scorecard.flags import REPEATED_SHARE
from lightning_monocon.scorecard.ranking import Comparison, compare
from lightning_monocon.scorecard.scores import Score


@dataclass(frozen=True)
class Facts:
    """What the rules look at: one arm against the baseline, means over the paired seeds.

    Attributes:
        skill: accuracy above chance in the arm's n99 dimensions, over the baseline's at full width.
        own_share: the same over the arm's own at full width.
        dimension_ratio: n99 over the baseline's n99.
        rmse_ratio: RMSE over the baseline's.
        variance_ratio: total variance over the baseline's.
        same_sample: whether both galleries have as many rows, and as many different ones to a hundredth, without which
            n99 cannot be compared.
        whole: accuracy at full width, against the baseline's.
        kept: accuracy in the arm's n99 dimensions against the baseline at full width.
        rival: accuracy in the arm's n99 dimensions against the baseline's PCA to as many.
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


def gather(arm: Sequence[Score], baseline: Sequence[Score]) -> Facts:
    """Collect the facts that the rules look at."""
    paired = {score.seed for score in baseline}
    arm = [score for score in arm if score.seed in paired] or arm
    rows = {score.seed: score for score in baseline}
    k, full = max(score.n99 for score in arm), max(score.dim for score in (*arm, *baseline))
    chance = fmean(score.chance for score in baseline)
    reached = fmean(score.knn_accuracy_at(k) for score in arm) - chance
    reachable = fmean(score.knn_accuracy for score in baseline) - chance
    own = fmean(score.knn_accuracy for score in arm) - chance
    return Facts(
        skill=reached / reachable if reachable > 0 else 1.0,
        own_share=reached / own if own > 0 else 0.0,
        dimension_ratio=_ratio(arm, baseline, "n99"),
        rmse_ratio=_ratio(arm, baseline, "rmse"),
        variance_ratio=_ratio(arm, baseline, "total_variance"),
        same_sample=all(_same_sample(score, rows.get(score.seed, score)) for score in arm),
        whole=compare(arm, baseline, full),
        kept=compare(arm, baseline, k, full),
        rival=compare(arm, baseline, k),
    )


def _same_sample(score: Score, baseline: Score) -> bool:
    return score.n == baseline.n and score.distinct >= (1 - REPEATED_SHARE) * baseline.distinct


def _ratio(arm: Sequence[Score], baseline: Sequence[Score], name: str) -> float:
    below = fmean(getattr(score, name) for score in baseline)
    return fmean(getattr(score, name) for score in arm) / below if below > 0 else float("inf")
