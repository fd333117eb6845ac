# SPDX-License-Identifier: Apache-2.0
"""Reduce a scorecard to the table and the summary that loggers take."""

from __future__ import annotations

from lightning_monocon.scorecard.card import Scorecard

_SPECTRAL = ("rmse", "fvu", "total_variance", "mean_cosine", "feature_correlation")
_FIGURES = {name: name for name in ("n99", "n", "dim", "knn_accuracy", *_SPECTRAL)}
_FIGURES |= {"recall@1": "recall_at_1", "recall@5": "recall_at_5"}
"""Attributes of a score by their names in tables and summaries."""


def logged_table(card: Scorecard) -> tuple[list[str], list[list[str | int | float]]]:
    """Return the columns and rows of a table: one row per arm and seed."""
    columns = ["arm", "seed", *_FIGURES, "verdict"]
    rows: list[list[str | int | float]] = [
        [arm.name, score.seed, *(float(getattr(score, name)) for name in _FIGURES.values()), arm.verdict.word]
        for arm in card.arms
        for score in arm.scores
    ]
    return columns, rows


def logged_summary(card: Scorecard) -> dict[str, float | str]:
    """Return the figures of every arm, as means over its seeds, and the best arm at each size.

    Where a single arm is compared with the baseline, as in a training run, it is also there without its name, so that
    runs with different heads share these keys.
    """
    summary: dict[str, float | str] = {}
    for place, arm in enumerate(card.arms, start=1):
        figures: dict[str, float | str] = {name: arm.spread(attribute)[0] for name, attribute in _FIGURES.items()}
        is_single = place == len(card.arms) <= 2
        for prefix in ("scorecard/", f"scorecard/{arm.name}/") if is_single else (f"scorecard/{arm.name}/",):
            summary |= {f"{prefix}{name}": value for name, value in figures.items()}
            summary[f"{prefix}verdict"] = arm.verdict.word
    for best in card.winners:
        summary[f"scorecard/best_at_{best.k}"] = best.arm if best.distinguishable else f"{best.arm} (within the noise)"
    return summary
