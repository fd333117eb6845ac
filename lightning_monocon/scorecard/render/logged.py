# SPDX-License-Identifier: Apache-2.0
"""Reduce a scorecard to the table and the summary that loggers take."""

from __future__ import annotations

from lightning_monocon.scorecard.card import Arm, Scorecard, mean_and_deviation

_SPECTRAL = ("rmse", "fvu", "total_variance", "mean_cosine", "feature_correlation")
_OF_LABELS = ("knn_accuracy", "recall@1", "recall@5")
"""Measures that are logged; of other truths all are."""


def _figures(card: Scorecard, arm: Arm) -> dict[str, list[float]]:
    """Return the figures of an arm, one number for each seed, by their names in tables and summaries."""
    shape = {name: [float(getattr(score, name)) for score in arm.scores] for name in ("n99", "n", "dim")}
    spectral = {name: [float(getattr(score, name)) for score in arm.scores] for name in _SPECTRAL}
    first, *more = (_measures(judged, arm.name) for judged in (card, *card.others))
    vote, *recalls = first
    others = {
        f"{judged.truth.name}/{name}": values
        for judged, measured in zip(card.others, more, strict=True)
        for name, values in measured.items()
    }
    return {**shape, vote: first[vote], **spectral, **{name: first[name] for name in recalls}, **others}


def _measures(card: Scorecard, name: str) -> dict[str, list[float]]:
    chosen = _OF_LABELS if card.truth.kind == "labels" else card.truth.measures
    return {
        measure: [score.figures[measure] for score in card.arm(name).scores]
        for measure in chosen
        if measure in card.truth.measures
    }


def logged_table(card: Scorecard) -> tuple[list[str], list[list[str | int | float]]]:
    """Return the columns and rows of a table: one row per arm and seed."""
    columns = ["arm", "seed", *_figures(card, card.arms[0]), "verdict"]
    rows: list[list[str | int | float]] = [
        [arm.name, score.seed, *figures, arm.verdict.word]
        for arm in card.arms
        for score, *figures in zip(arm.scores, *_figures(card, arm).values(), strict=True)
    ]
    return columns, rows


def logged_summary(card: Scorecard) -> dict[str, float | str]:
    """Return the figures of every arm, as means over its seeds, and the best arm at each size.

    Where a single arm is compared with the baseline, as in a training run, it is also there without its name, so that
    runs with different heads share these keys.
    """
    summary: dict[str, float | str] = {}
    for place, arm in enumerate(card.arms, start=1):
        figures: dict[str, float | str] = {
            name: mean_and_deviation(values)[0] for name, values in _figures(card, arm).items()
        }
        is_single = place == len(card.arms) <= 2
        for prefix in ("scorecard/", f"scorecard/{arm.name}/") if is_single else (f"scorecard/{arm.name}/",):
            summary |= {f"{prefix}{name}": value for name, value in figures.items()}
            summary[f"{prefix}verdict"] = arm.verdict.word
    for best in card.winners:
        summary[f"scorecard/best_at_{best.k}"] = best.arm if best.distinguishable else f"{best.arm} (within the noise)"
    return summary
