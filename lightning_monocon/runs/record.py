# SPDX-License-Identifier: Apache-2.0
"""Read the append-only record of a run: the value of each metric at each epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

RECORD = "record.jsonl"

EMBEDDING, ENCODER = "val/", "val/encoder/"
"""Prefixes of the metrics of a run's embedding, and of its encoder's output if a head follows."""


@dataclass(frozen=True)
class History:
    """Hold the metrics of a run by epoch.

    Attributes:
        values: The value of each metric at each epoch at which it was recorded, epochs ascending.
    """

    values: Mapping[str, Mapping[int, float]]

    def line(self, name: str) -> tuple[list[int], list[float]]:
        """Return epochs and finite values of one metric; both are empty if it was never recorded."""
        points = {epoch: value for epoch, value in self.values.get(name, {}).items() if math.isfinite(value)}
        return list(points), list(points.values())

    def of_encoder(self) -> History:
        """Return the history of the encoder as if there were no head; for a run without a head, itself.

        The loss is left out, since it is that of the head's output.
        """
        found = {
            EMBEDDING + name.removeprefix(ENCODER): points
            for name, points in self.values.items()
            if name.startswith(ENCODER)
        }
        return History(found) if found else self


def read_history(path: str | Path) -> History:
    """Read an append-only ``record.jsonl`` of rows ``{"epoch": 3, "metrics": {"val/knn_accuracy": 0.98}}``.

    Rows with an ``event`` (start, resume, end) are skipped.

    If an epoch was recorded twice (by a resumed run), the last row counts. A last line without its newline was cut by
    a kill and is skipped. A missing file gives an empty history, without which no figure of the training is drawn.

    Raises:
        ValueError: If a complete line is not such a row.
    """
    values: dict[str, dict[int, float]] = {}
    for row in _rows(Path(path)):
        if "event" in row:
            continue
        for name, value in row["metrics"].items():
            if isinstance(value, (int, float)):
                values.setdefault(name, {})[row["epoch"]] = float(value)

    return History({name: dict(sorted(points.items())) for name, points in values.items()})


def read_last_step(path: str | Path) -> int:
    """Return the largest step of the rows of a record, as in `read_history`; 0 without any.

    Raises:
        ValueError: If a complete line is not such a row.
    """
    return max((int(row.get("step") or 0) for row in _rows(Path(path))), default=0)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a record without a last line that was cut by a kill; none if there is no file."""
    if not path.is_file():
        return
    *lines, _cut = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _row(line, f"line {number} of {path}")


def mean_line(histories: Sequence[History], name: str) -> tuple[list[int], list[float], list[float], list[float]]:
    """Return epochs, mean, lowest and highest value of a metric over runs, at the epochs that all of them recorded."""
    lines = [dict(zip(*history.line(name), strict=True)) for history in histories]
    epochs = sorted(set.intersection(*map(set, lines))) if lines else []
    columns = [[line[epoch] for line in lines] for epoch in epochs]
    means = [math.fsum(column) / len(column) for column in columns]
    return epochs, means, [min(column) for column in columns], [max(column) for column in columns]


def late_change(history: History, name: str) -> float:
    """Return the change of a metric over the last quarter of a run: mean of the last tenth less that before it.

    Returns:
        The change in the units of the metric; NaN if fewer than ten epochs were recorded.
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
