# SPDX-License-Identifier: Apache-2.0
"""Write and read the append-only record of a run: everything that was logged, and what each metric was when."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from lightning_monocon.runs.files import explain

RECORD = "record.jsonl"

EMBEDDING, ENCODER = "val/", "val/encoder/"
"""Prefixes of what a run records of its embedding, and of its encoder's output where a head follows."""


class RecordLogger(Logger):
    """Append every logged row to ``record.jsonl``, flushed by the row.

    The record is the run's truth: W&B loses the last seconds before a kill, and CSVLogger deletes rows on resume. Rows
    are ``{"time", "epoch", "step", "metrics"}`` or ``{"time", "event", ...}``; a value that is not finite is ``null``.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "record"

    @property
    def version(self) -> str:
        """A folder holds one run."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row of metrics."""
        values = {name: _plain(value) for name, value in metrics.items() if name != "epoch"}
        self._append({"epoch": int(metrics.get("epoch", 0)), "step": step, "metrics": values})

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: object, **kwargs: object) -> None:
        """Append one row with the hyper-parameters."""
        self.log_event("hyperparameters", values=dict(params) if isinstance(params, dict) else vars(params))

    @rank_zero_only
    def log_event(self, event: str, **details: object) -> None:
        """Append one row that is not a metric."""
        self._append({"event": event, **details})

    def _append(self, row: dict[str, object]) -> None:
        stamped = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), **row}
        try:
            with self.path.open("a", encoding="utf-8") as file:  # opened per row: nothing is in a buffer at a kill
                file.write(json.dumps(stamped, default=str, allow_nan=False) + "\n")
        except OSError as error:
            raise explain(error, self.path) from error


def _plain(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


@dataclass(frozen=True)
class History:
    """Metrics by epoch.

    Attributes:
        values: for each metric its value at each epoch at which it was recorded, epochs ascending.
    """

    values: Mapping[str, Mapping[int, float]]

    def line(self, name: str) -> tuple[list[int], list[float]]:
        """Epochs and finite values of one metric; both empty if it was never recorded."""
        points = {epoch: value for epoch, value in self.values.get(name, {}).items() if math.isfinite(value)}
        return list(points), list(points.values())

    def of_encoder(self) -> History:
        """Return what this run would have recorded of its encoder, had there been no head; without a head, itself.

        The loss is left out: it is that of the head's output.
        """
        found = {
            EMBEDDING + name.removeprefix(ENCODER): points
            for name, points in self.values.items()
            if name.startswith(ENCODER)
        }
        return History(found) if found else self


def read_history(path: str | Path) -> History:
    """Read an append-only ``record.jsonl`` of rows ``{"epoch": 3, "metrics": {"val/knn_accuracy": 0.98}}``.

    Rows with an ``event`` (start, resume, end) are passed over.

    An epoch that was recorded twice (a resumed run) counts as it was recorded last. A last line without its newline
    was cut by a kill and is left out. No file gives an empty history: figures of the training are then left out.

    Raises:
        ValueError: if a whole line is not such a row.
    """
    path = Path(path)
    if not path.is_file():
        return History({})
    *lines, _cut = path.read_text(encoding="utf-8").split("\n")
    values: dict[str, dict[int, float]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line, f"line {number} of {path}")
        if "event" in row:
            continue
        for name, value in row["metrics"].items():
            if isinstance(value, (int, float)):
                values.setdefault(name, {})[row["epoch"]] = float(value)
    return History({name: dict(sorted(points.items())) for name, points in values.items()})


def mean_line(histories: Sequence[History], name: str) -> tuple[list[int], list[float], list[float], list[float]]:
    """Epochs, mean, lowest and highest value of one metric over runs, at the epochs that all of them recorded."""
    lines = [dict(zip(*history.line(name), strict=True)) for history in histories]
    epochs = sorted(set.intersection(*map(set, lines))) if lines else []
    columns = [[line[epoch] for line in lines] for epoch in epochs]
    means = [math.fsum(column) / len(column) for column in columns]
    return epochs, means, [min(column) for column in columns], [max(column) for column in columns]


def late_change(history: History, name: str) -> float:
    """How much a metric changed over the last quarter of a run: mean of the last tenth less that before the quarter.

    Returns:
        The change in the metric's own units; NaN below ten recorded epochs, which are too few to tell.
    """
    _, values = history.line(name)
    tenth, start = len(values) // 10, round(0.75 * len(values))
    if tenth == 0:
        return math.nan
    return fmean(values[-tenth:]) - fmean(values[start - tenth : start])


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"`path` must hold one JSON object per line; {where} is not: {error}.") from error
    if isinstance(row, dict) and "event" in row:
        return row
    if not isinstance(row, dict) or not isinstance(row.get("metrics"), dict) or not isinstance(row.get("epoch"), int):
        raise ValueError(f"`path` must hold rows with `epoch` and `metrics`; {where} holds {line[:80]!r}.")
    return row


def drop_half_row(record: Path) -> None:
    """Cut off a last row without its newline: the next one would be glued to it, and neither could be read.

    A last row that is whole gets its newline instead.
    """
    if not record.exists():
        return
    with record.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if _is_json(content[whole:]):
            file.write(b"\n")
        elif whole < len(content):
            file.truncate(whole)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
