# SPDX-License-Identifier: Apache-2.0
"""The events of a landscape as a table, for the loggers that take one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger

from lightning_monocon.landscape import Event

COLUMNS = ("kind", "group", "step_left", "step_entered", "step_confirmed", "source", "target", "abruptness", "reason")

Table = list[list[str | int | float | None]]


def event_table(events: Sequence[Event]) -> Table:
    """One row an event, the columns `COLUMNS`."""
    plain = [event.to_dict() for event in events]
    return [[row[name] for name in COLUMNS] for row in plain]


def log_table(logger: Logger, name: str, rows: Table) -> None:
    """Hand the rows to a logger; one that cannot take a table is passed over.

    Args:
        logger: W&B takes a table, TensorBoard a text in Markdown, CSV a file in its folder.
        name: Key, such as ``"landscape/events"``.
        rows: One list a row, as many values as `COLUMNS`.
    """
    if isinstance(logger, WandbLogger):
        logger.log_table(key=name, columns=list(COLUMNS), data=rows)
    elif isinstance(logger, TensorBoardLogger):
        lines = [list(COLUMNS), ["---"] * len(COLUMNS), *([str(value) for value in row] for row in rows)]
        logger.experiment.add_text(name, "\n".join("| " + " | ".join(line) + " |" for line in lines))
    elif isinstance(logger, CSVLogger):
        path = Path(logger.log_dir) / f"{name.replace('/', '_')}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(COLUMNS), *rows])
