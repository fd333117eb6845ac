# SPDX-License-Identifier: Apache-2.0
"""Name what a reader must know before believing the figures of an arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from lightning_monocon.functional.red_flags import (
    LEAKED_SHARE,
    OUTSIDE_SHARE,
    REPEATED_SHARE,
    ROWS_PER_FEATURE,
    red_flags,
)
from lightning_monocon.runs.record import History, late_change
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.truths.graded import GradedTruth
from lightning_monocon.scorecard.truths.labels import MAJORITY, NEIGHBOURS

STILL_LEARNING = 0.01
"""Accuracy gained over the last quarter of a run, one point, above which the run stopped too early."""

ACCURACY = "val/knn_accuracy"
"""Metric of a run's record that tells whether it was still learning."""

_FIRST = 10
"""Nearest rows by which rankings are judged."""

UNEQUAL_EPOCHS = 2.0
"""Ratio of the lengths of two runs from which the longer one may owe its lead to its length."""


def flags(score: Score) -> tuple[str, ...]:
    """Return the flags of one score: `red_flags`, leaks, repeated queries or pairs, thin classes, queries outside."""
    fewer = f"{score.distinct} rows, fewer than {ROWS_PER_FEATURE} x {score.dim}"
    words = {
        "narrow_cone": f"narrow cone (mean cosine {score.mean_cosine:.4f}): read FVU, not RMSE",
        "small_sample": f"small sample ({fewer}): n99 would grow",
        "repeated_rows": _repeated_rows(score),
    }
    distinct = score.n if score.coded else score.distinct
    # Not the effective dimension: whether a low n99 is a collapse is for the verdict to say.
    figures = {"mean_cosine": score.mean_cosine, "rows": score.n, "distinct_rows": distinct}
    found = [words[flag.name] for flag in red_flags(figures, score.dim) if flag.name in words]
    copies = _codes(score) if score.coded else _leak(score)
    return (*found, *_repeated_units(score), *copies, *_thin(score), *_outside(score))


def training_flags(histories: Sequence[History], baseline: Sequence[History] = ()) -> tuple[str, ...]:
    """Return warnings about the runs of an arm: still learning when they stopped, or longer or shorter than others.

    Args:
        histories: Records of the arm's runs.
        baseline: Records of the baseline's runs. Without a record there is no warning.
    """
    return (*_still_learning(histories), *_unequal_epochs(histories, baseline))


def _repeated_rows(score: Score) -> str:
    found = f"repeated rows ({score.n - score.distinct} of {score.n} in the gallery): "
    if score.truth.kind == "graded":
        return f"{found}n99 counts them as further evidence"
    nearest = NEIGHBOURS if score.truth.kind == "labels" else _FIRST
    different = max(1, round(nearest * score.distinct / score.n))
    return f"{found}the {nearest} nearest hold about {different} different, so recall@k is that of fewer"


def _codes(score: Score) -> tuple[str, ...]:
    same = score.n - score.distinct
    return (
        f"coarse codes ({same} of {score.n} rows coincide with another, {score.leaked} of {score.n_query} queries with "
        "a row): too coarse to tell copies and leaks",
    )


def _repeated_units(score: Score) -> tuple[str, ...]:
    if isinstance(score.truth, GradedTruth):
        different, units, name = score.truth.different, score.truth.units, "pairs"
    else:
        different, units, name = score.distinct_query, score.n_query, "queries"
        if score.coded:
            return ()
    if not different < (1 - REPEATED_SHARE) * units:
        return ()
    return (f"repeated {name} ({units - different} of {units}): intervals over all {name} are too narrow",)


def _leak(score: Score) -> tuple[str, ...]:
    if not score.leaked > LEAKED_SHARE * score.n_query:
        return ()
    return (f"leak ({score.leaked} of {score.n_query} queries are rows of the gallery, and find themselves)",)


def _thin(score: Score) -> tuple[str, ...]:
    if not score.thin > LEAKED_SHARE * score.n_query:
        return ()
    return (
        f"small classes ({score.thin} of {score.n_query} queries have fewer than {MAJORITY} gallery rows of their "
        f"class): the tie rule decides their {NEIGHBOURS}-NN vote, read Recall@1",
    )


def _outside(score: Score) -> tuple[str, ...]:
    if not score.fvu > OUTSIDE_SHARE:
        return ()
    return (f"queries outside (FVU {100 * score.fvu:.0f} %): the gallery's n99 dimensions do not describe them",)


def _still_learning(histories: Sequence[History]) -> tuple[str, ...]:
    changes = [change for history in histories if not math.isnan(change := _late_change(history))]
    gained = fmean(changes) if changes else math.nan
    if not gained > STILL_LEARNING:
        return ()
    return (f"still learning ({ACCURACY} rose {100 * gained:.1f} points in the last quarter of the run): train longer",)


def _late_change(history: History) -> float:
    """Return the change over the last quarter; of runs too short to average, that of their last epochs."""
    _, values = history.line(ACCURACY)
    change = late_change(history, ACCURACY)
    if len(values) < 2 or not math.isnan(change):
        return change
    return values[-1] - values[min(round(0.75 * len(values)), len(values) - 1) - 1]


def _unequal_epochs(histories: Sequence[History], baseline: Sequence[History]) -> tuple[str, ...]:
    ours, theirs = _epochs(histories), _epochs(baseline)
    if not ours or not theirs or max(ours, theirs) < UNEQUAL_EPOCHS * min(ours, theirs):
        return ()
    return (f"unequal training ({ours:.0f} epochs, the baseline {theirs:.0f}): the longer run may owe its lead to it",)


def _epochs(histories: Sequence[History]) -> float:
    """Return the mean number of epochs of runs, by the last one that their records hold; 0 without a record."""
    last = [max(epochs) + 1 for history in histories if (epochs := history.line(ACCURACY)[0])]
    return fmean(last) if last else 0.0
