# SPDX-License-Identifier: Apache-2.0
"""Hand figures, tables and the summary of a run to any logger, each in its own way."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, TypeAlias

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from lightning_monocon.loggers.record import RecordLogger
from lightning_monocon.runs.files import whole, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows: TypeAlias = Sequence[Sequence[str | int | float | None]]


@rank_zero_only
def log_figure(logger: Logger, name: str, figure: Figure, drawn: Path | None = None) -> None:
    """Hand a figure to a logger, or do nothing if the logger takes none.

    Args:
        logger: W&B and TensorBoard take the image, `CSVLogger` a PNG in its folder.
        name: Key or file name, such as ``"spectrum"``.
        figure: The figure.
        drawn: A PNG of it, which is copied instead of being drawn once more; None if there is none.
    """
    if isinstance(logger, WandbLogger):
        import wandb

        logger.experiment.log({f"figures/{name}": wandb.Image(figure)})
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(f"figures/{name}", figure, close=False)
    elif isinstance(logger, CSVLogger):
        with whole(Path(logger.log_dir) / "figures" / f"{name}.png") as path:
            if drawn is None:
                figure.savefig(path, format="png")
            else:
                copyfile(drawn, path)


@rank_zero_only
def log_table(logger: Logger, name: str, columns: Sequence[str], rows: Rows) -> None:
    """Hand a table to a logger, or do nothing if the logger takes none.

    Args:
        logger: W&B takes a table, TensorBoard a text in Markdown, `CSVLogger` a file in its folder.
        name: Key, such as ``"landscape/events"``.
        columns: The header.
        rows: One sequence for each row, with as many values as ``columns``.
    """
    if isinstance(logger, WandbLogger):
        logger.log_table(key=name, columns=list(columns), data=[list(row) for row in rows])
    elif isinstance(logger, TensorBoardLogger):
        lines = [columns, ["---"] * len(columns), *([str(value) for value in row] for row in rows)]
        logger.experiment.add_text(name, "\n".join("| " + " | ".join(line) + " |" for line in lines))
    elif isinstance(logger, CSVLogger):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([columns, *rows])
        write_text(Path(logger.log_dir) / f"{name.replace('/', '_')}.csv", text.getvalue())


@rank_zero_only
def log_summary(logger: Logger, values: Mapping[str, int | float | str]) -> None:
    """Hand the final figures of a run to a logger.

    Args:
        logger: W&B adds them to the summary of the run, NaN as the text "NaN"; the record takes them as an event;
            TensorBoard and `CSVLogger` take the numbers as scalars. Any other logger is skipped.
        values: Numbers and words by name.
    """
    if isinstance(logger, WandbLogger):
        # a NaN in a summary, unlike a logged one, becomes null, as if the figure were absent
        logger.experiment.summary.update({name: "NaN" if value != value else value for name, value in values.items()})
    elif isinstance(logger, RecordLogger):
        logger.log_event("scorecard", **values)
    elif isinstance(logger, TensorBoardLogger | CSVLogger):
        logger.log_metrics({name: float(value) for name, value in values.items() if not isinstance(value, str)})
