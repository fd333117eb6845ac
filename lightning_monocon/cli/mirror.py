# SPDX-License-Identifier: Apache-2.0
"""Mirror a comparison's scorecard to Weights & Biases, as a run of its own beside the runs of its arms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from lightning_monocon.loggers.figures import log_figure, log_summary, log_table
from lightning_monocon.loggers.wandb import MirrorLogger, WandbMode, finishing_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_monocon.scorecard import Scorecard

_COLUMNS = ("n99", "knn_accuracy", "rmse", "fvu", "total_variance", "mean_cosine", "feature_correlation")


def mirror(
    out: Path, card: Scorecard, drawn: Mapping[str, Figure], *, mode: str, project: str | None, group: str | None
) -> None:
    """Send figures, table and summary of a scorecard; without a key or a network they are kept offline in ``out``.

    Args:
        out: the comparison's folder, which keeps the id of its W&B run.
        card: the scorecard.
        drawn: its figures by file name.
        mode: as ``--wandb`` of `fit`.
        project: W&B project; None means ``monocon``.
        group: W&B group, that of the arms' runs.

    Raises:
        ValueError: If the mode is unknown.
    """
    if mode not in get_args(WandbMode):
        raise ValueError(f"`--wandb` must be one of {', '.join(get_args(WandbMode))}, got {mode!r}.")
    if mode == "off":
        return
    chosen = cast('Literal["disabled", "offline", "online"]', mode)
    with finishing_runs():
        logger = MirrorLogger(out, chosen, project or "monocon", group, ["comparison"])
        log_summary(logger, _summary(card))
        log_table(logger, "scorecard/arms", ["arm", "seed", *_COLUMNS, "verdict"], _rows(card))
        for name, figure in drawn.items():
            log_figure(logger, name.removesuffix(".png"), figure)


def _rows(card: Scorecard) -> list[list[str | int | float]]:
    return [
        [arm.name, score.seed, *(float(getattr(score, name)) for name in _COLUMNS), arm.verdict.word]
        for arm in card.arms
        for score in arm.scores
    ]


def _summary(card: Scorecard) -> dict[str, float | str]:
    """Means over seeds of every arm, and the winner at every size."""
    row: dict[str, float | str] = {}
    for arm in card.arms:
        row |= {f"scorecard/{arm.name}/{name}": arm.spread(name)[0] for name in _COLUMNS}
        row[f"scorecard/{arm.name}/verdict"] = arm.verdict.word
    for best in card.winners:
        row[f"scorecard/best_at_{best.k}"] = best.arm if best.distinguishable else f"{best.arm} (within the noise)"
    return row
