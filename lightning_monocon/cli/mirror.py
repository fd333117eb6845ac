# SPDX-License-Identifier: Apache-2.0
"""Mirror a comparison's scorecard to Weights & Biases, as a run of its own beside the runs of its arms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.loggers.figures import log_figure, log_summary, log_table
from lightning_monocon.loggers.wandb import MirrorLogger, finishing_runs
from lightning_monocon.runs.choices import WandbMode
from lightning_monocon.scorecard.render.logged import logged_summary, logged_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_monocon.scorecard import Scorecard


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
    check_choice("--wandb", mode, get_args(WandbMode))
    if mode == "off":
        return
    chosen = cast('Literal["disabled", "offline", "online"]', mode)
    with finishing_runs():
        logger = MirrorLogger(out, chosen, project or "monocon", group, ["comparison"])
        log_summary(logger, logged_summary(card))
        log_table(logger, "scorecard/arms", *logged_table(card))
        for name, figure in drawn.items():
            log_figure(logger, name.removesuffix(".png"), figure)
