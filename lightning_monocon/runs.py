# SPDX-License-Identifier: Apache-2.0
"""One folder a run: a lock while it is written, and an append-only record of everything that was logged."""

from __future__ import annotations

import json
import math
import os
from argparse import Namespace
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

RECORD = "record.jsonl"


class RunFolder:
    """A run's folder, held by one process at a time.

    The lock is the operating system's and ends with the process, however it ends.

    Args:
        path: The folder; made if missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = FileLock(self.path / ".lock")

    @property
    def record(self) -> Path:
        """The append-only record."""
        return self.path / RECORD

    def claim(self, resume: bool) -> None:
        """Take the folder for this process.

        Args:
            resume: Whether the run goes on with what the folder holds.

        Raises:
            RuntimeError: If another process writes there, or it holds a run and this is a new one.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RuntimeError(
                f"`run_dir` must not be in use; {str(self.path)!r} is being written by another run. Choose another."
            ) from None
        if self.record.exists() and not resume:
            self.release()
            raise RuntimeError(
                f"`run_dir` must be a new folder; {str(self.path)!r} already holds a run. Choose another, or go on "
                "with that run: --ckpt_path <one of its checkpoints>."
            )

    def release(self) -> None:
        """Give the folder back; a second call does nothing."""
        self._lock.release()


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
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # Lightning's signature
        """Append one row with the hyper-parameters."""
        self.log_event("hyperparameters", values=dict(params) if isinstance(params, dict) else vars(params))

    @rank_zero_only
    def log_event(self, event: str, **details: object) -> None:
        """Append one row that is not a metric."""
        self._append({"event": event, **details})

    def _append(self, row: dict[str, object]) -> None:
        stamped = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), **row}
        with self.path.open("a", encoding="utf-8") as file:  # opened per row: nothing is left in a buffer at a kill
            file.write(json.dumps(stamped, default=str, allow_nan=False) + "\n")


def _plain(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
