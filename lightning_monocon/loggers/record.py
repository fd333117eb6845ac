# SPDX-License-Identifier: Apache-2.0
"""Log a run to its append-only record."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from lightning_monocon.runs.files import append_row


class RecordLogger(Logger):
    """Append every logged row to ``record.jsonl``, one write for each row.

    The record is complete, whereas W&B loses the last seconds before a kill and `CSVLogger` deletes rows on resume.
    Rows are ``{"time", "epoch", "step", "metrics"}`` or ``{"time", "event", ...}``; a value that is not finite is
    ``null``.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        """Return the name of the logger."""
        return "record"

    @property
    def version(self) -> str:
        """Return an empty text, since a folder holds one run."""
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
        append_row(self.path, stamped)


def _plain(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
