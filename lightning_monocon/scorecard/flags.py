# SPDX-License-Identifier: Apache-2.0
"""What a reader must know before believing an arm's figures; each with its threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from lightning_monocon.runs.record import History, late_change
from lightning_monocon.scorecard.scores import Score

CONE_COSINE = 0.95
"""Mean cosine above which all rows point the same way within 18 degrees."""

SAMPLE_PER_DIMENSION = 10
"""Distinct rows per dimension below which n99 still grows with the sample."""

REPEATED_SHARE = 0.01
"""Share of repeated rows in the gallery, or of queries in the gallery, that is worth a word."""

STILL_LEARNING = 0.01
"""Accuracy gained over the last quarter of a run, one point, above which the run stopped too early."""

ACCURACY = "val/knn_accuracy"
"""Metric of a run's record that tells whether it was still learning."""


def flags(score: Score) -> tuple[str, ...]:
    """Say what a reader of one score's figures must know before believing them."""
    found = []
    if score.mean_cosine >= CONE_COSINE:
        found.append(f"narrow cone (mean cosine {score.mean_cosine:.4f}): read FVU, not RMSE")
    if score.distinct < SAMPLE_PER_DIMENSION * score.dim:
        found.append(
            f"small sample ({score.distinct} rows, fewer than {SAMPLE_PER_DIMENSION} x {score.dim}): n99 would grow"
        )
    if score.n - score.distinct > REPEATED_SHARE * score.n:
        found.append(f"repeated rows ({score.n - score.distinct} of {score.n} in the gallery)")
    if score.leaked > REPEATED_SHARE * score.n_query:
        found.append(f"leak ({score.leaked} of {score.n_query} queries are rows of the gallery)")
    return tuple(found)


def training_flags(histories: Sequence[History]) -> tuple[str, ...]:
    """Say whether the runs of an arm were still learning when they stopped; nothing without a record."""
    changes = [late_change(history, ACCURACY) for history in histories]
    gained = fmean(changes) if changes else math.nan
    if not gained > STILL_LEARNING:
        return ()
    return (f"still learning ({ACCURACY} rose {100 * gained:.1f} points in the last quarter of the run): train longer",)
