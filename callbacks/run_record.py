# SPDX-License-Identifier: Apache-2.0
"""Hold the run's folder and keep its record."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_monocon.loggers.record import RecordLogger
from lightning_monocon.runs.folder import RunFolder


class RunRecord(Callback):
    """Claim ``run_dir`` for this run and append everything that is logged to ``run_dir/record.jsonl``.

    Args:
        run_dir: The run's own folder.
        resume: Whether the run resumes what the folder holds.

    Raises:
        RuntimeError: If the folder is in use, or holds a run and this one is not resumed.
    """

    def __init__(self, run_dir: str, resume: bool = False) -> None:
        self.folder, self.resume = RunFolder(run_dir), resume
        self._logger: RecordLogger | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Claim the folder and add the record to the trainer's loggers; the first rank does it for all."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        self.folder.claim(self.resume)
        self._logger = RecordLogger(self.folder.record)
        self._logger.log_event("resume" if self.resume else "start")
        trainer.loggers = [*trainer.loggers, self._logger]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the end."""
        self._end(trainer, "end")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Record the failure: Lightning calls no other hook after it."""
        self._end(trainer, "failure", error=f"{type(exception).__name__}: {exception}")

    def _end(self, trainer: Trainer, event: str, **details: str) -> None:
        if self._logger is not None:
            self._logger.log_event(event, **details)
            trainer.loggers = [logger for logger in trainer.loggers if logger is not self._logger]
            self._logger = None
            self.folder.release()
