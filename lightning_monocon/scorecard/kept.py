# SPDX-License-Identifier: Apache-2.0
"""Ask whether accuracy was kept: a non-inferiority test, which few queries cannot pass.

That no loss is shown does not prove that none is there. Accuracy counts as kept only if the lower end of the interval
of the difference lies above minus a stated margin, which happens to a form that loses the whole margin in at most 2.5 %
of all sets of queries. It counts as lost if the interval lies below zero and the loss is larger than the margin. In
between, the queries are too few to tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from lightning_monocon.scorecard.ranking import Comparison
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.truths.graded import GradedTruth
from lightning_monocon.scorecard.truths.truth import MARGINS

Outcome = Literal["kept", "lost", "open"]

POWER = 0.8
"""Chance that the recommended number of queries shows what is true; trials are planned with the same one."""

_AIMED = 1 + NormalDist().inv_cdf(POWER) / NormalDist().inv_cdf(0.975)
"""Margin over the half-width of the interval at which an equal form passes that often: 2.80 / 1.96 deviations."""


@dataclass(frozen=True)
class Kept:
    """Hold what a comparison shows about a loss.

    Attributes:
        outcome: ``"kept"``, ``"lost"``, or ``"open"`` where the queries are too few to tell.
        margin: Loss that is tolerated.
        low: Lower end of the interval over queries, in which repeated queries or pairs do not count twice.
        high: Upper end.
        queries: Different queries of a seed.
        needed: Queries, all different, that would show in four of five cases that nothing is lost if nothing is.
    """

    outcome: Outcome
    margin: float
    low: float
    high: float
    queries: int
    needed: int


def kept_of(comparison: Comparison, scores: Sequence[Score], margin: float | None = None) -> Kept:
    """Return what a comparison shows about a loss of more than the margin.

    It asks the queries alone: two seeds that disagree must not pass a loss off as noise.

    Args:
        comparison: Of the arm that may have lost something, against another.
        scores: Scores of the arm, on the queries that were compared.
        margin: Loss that is tolerated, above 0; by default that of `MARGINS`.
    """
    margin = MARGINS[scores[0].truth.kind] if margin is None else margin
    share = min(_different(score) for score in scores)
    queries = round(share * scores[0].truth.units)
    low, high = over_different(comparison, share)
    if low > -margin:
        outcome: Outcome = "kept"
    elif high < 0 and comparison.difference < -margin:
        outcome = "lost"
    else:
        outcome = "open"
    return Kept(outcome, margin, low, high, queries, queries_needed(low, high, queries, margin))


def _different(score: Score) -> float:
    """Return the share of different pairs, or of different queries, whose copies codes cannot tell."""
    if isinstance(score.truth, GradedTruth):
        return score.truth.different / score.truth.units
    return 1.0 if score.coded else score.distinct_query / score.n_query


def over_different(comparison: Comparison, share: float) -> tuple[float, float]:
    """Return the interval over queries that a given share of them, the different ones, would give."""
    centre, stretch = comparison.difference, share**-0.5
    low, high = (centre + stretch * (end - centre) for end in comparison.query_interval)
    return low, high


def queries_needed(low: float, high: float, queries: int, margin: float) -> int:
    """Return how many queries show that nothing is lost, four times of five, if nothing is.

    The half-width of an interval is 1.96 standard deviations of a query over the root of their number, so the observed
    one gives the deviation, and the deviation the number at which the margin is 2.80 standard errors.

    Args:
        low: Lower end of a 95 % interval of the mean difference.
        high: Upper end.
        queries: Queries behind it.
        margin: Loss that is tolerated.

    Example:
        >>> queries_needed(-0.02, 0.02, queries=500, margin=0.01)
        4087
    """
    return math.ceil(queries * ((high - low) / 2 * _AIMED / margin) ** 2)
