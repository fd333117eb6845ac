# SPDX-License-Identifier: Apache-2.0
"""Choose the checkpoint that a run resumes from, and say how to resume a run that was stopped."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lightning_monocon.callbacks.rolling_checkpoint import RollingCheckpoint
from lightning_monocon.callbacks.stop_signals import StopSignals
from lightning_monocon.cli.config import refuse, stop
from lightning_monocon.data.workers import dead_worker
from lightning_monocon.runs.checkpoints import newest_good
from lightning_monocon.runs.files import WriteError
from lightning_monocon.runs.folder import RunFolder

AUTO = "auto"
_GIGABYTE = 10**9


def rolling_checkpoint(
    folder: Path, keep: int, keep_gb: float | None, every_n_steps: int | None, every_n_seconds: float
) -> RollingCheckpoint:
    """Return the callback that the options ask for; exit with status 2 if a number is below its bound."""
    try:
        return RollingCheckpoint(
            str(folder),
            keep,
            None if keep_gb is None else int(keep_gb * _GIGABYTE),
            every_n_steps,
            None if every_n_steps is not None else every_n_seconds,
        )
    except ValueError as error:
        stop(f"{error} (--keep, --keep-gb, --save-every-n-steps, --save-every-n-seconds)")


def checkpoint_to_resume(folder: RunFolder, asked: str) -> Path | None:
    """Return the checkpoint that ``--resume`` means; ``None`` where a run has none yet and starts.

    Exit with status 2 if there is no such file, or the newest is whole and cannot be read.
    """
    if asked != AUTO:
        path = Path(asked)
        if not path.is_file():
            stop(f"`--resume` must be 'auto' or an existing checkpoint, got {asked!r}")
        return path
    try:
        found, torn = newest_good(folder.checkpoints)
    except ValueError as error:
        folder.release()
        stop(f"`--resume auto`: {error}")
    for file in torn:
        instead = f"resuming from {found.name}" if found else "there is no other, so the run starts again"
        size = file.stat().st_size
        rank_zero_warn(f"{str(file)!r} ({size} bytes) is cut short or altered and is left out; {instead}.")
    if found is None:
        rank_zero_info(f"No checkpoint in {str(folder.checkpoints)!r} yet: the run starts.")
    return found


def resume_command(folder: Path) -> str:
    """Return the command that resumes the run in a folder with the settings it was started with."""
    words = ["monocon", "fit", "--config", str(folder / "config.yaml"), "--run-dir", str(folder), "--resume", AUTO]
    return shlex.join(words)


@contextmanager
def resumable(trainer: Trainer, folder: Path) -> Iterator[None]:
    """Say how to resume when training is stopped, and exit with the status of the cause.

    Raises:
        SystemExit: With status 143 at SIGTERM, 130 at SIGINT, 129 at SIGHUP, 1 where nothing can be written.
        RuntimeError: If a data worker died, unless a signal to the whole process group ended it.
    """
    try:
        with writing_or_stopping():
            yield
    except SIGTERMException:
        _say_how_to_resume(trainer, folder)
        raise SystemExit(128 + signal.SIGTERM) from None
    except KeyboardInterrupt:  # a second Ctrl-C, where Lightning no longer expects one
        _say_how_to_resume(trainer, folder)
        raise SystemExit(128 + (_received(trainer) or signal.SIGINT)) from None
    except SystemExit as error:
        _say_how_to_resume(trainer, folder)
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise SystemExit(128 + (_received(trainer) or signal.SIGINT)) from None
    except Exception as error:
        _say_how_to_resume(trainer, folder)
        reason, number = dead_worker(error), _received(trainer)
        # a signal to all processes of a run ends loaders and other ranks as well, and their absence is no fault
        if number is not None and (reason is not None or trainer.world_size > 1):
            raise SystemExit(128 + number) from None
        if reason is None:
            raise
        raise RuntimeError(reason) from error
    else:
        _leave_if_asked(trainer)


def _leave_if_asked(trainer: Trainer) -> None:
    """Exit with the status of a signal that came after the last step, such as while the report was written.

    No step was left to stop at, so everything is whole.
    """
    number = _received(trainer)
    if number is None:
        return
    if trainer.is_global_zero:
        name = signal.Signals(number).name
        print(f"{name} was received after the last step of training; the run is finished.", file=sys.stderr)
    raise SystemExit(128 + number)


def _received(trainer: Trainer) -> int | None:
    """Return the signal that asked this run to stop, if one did."""
    if trainer.received_sigterm:
        return signal.SIGTERM
    asked = [callback.received for callback in trainer.callbacks if isinstance(callback, StopSignals)]  # type: ignore[attr-defined]
    return next((number for number in asked if number is not None), None)


@contextmanager
def writing_or_stopping() -> Iterator[None]:
    """Print one sentence and exit with status 1 where something cannot be written."""
    try:
        yield
    except WriteError as error:
        refuse(error)


def _say_how_to_resume(trainer: Trainer, folder: Path) -> None:
    """Print the command, if the run has made a step: what stops it before its first step would stop it again.

    Where the folder was moved, the sentence that stops the run says what to do.
    """
    if trainer.is_global_zero and trainer.global_step > 0 and folder.exists():
        saved = any((folder / "checkpoints").glob("*.ckpt"))
        how = f"Resume with:\n  {resume_command(folder)}" if saved else "It has saved no checkpoint to resume from."
        print(f"stopped after step {trainer.global_step}. {how}", file=sys.stderr)
