# SPDX-License-Identifier: Apache-2.0
"""Hold the folder of a run for one process at a time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lightning_monocon.runs.files import drop_half_row, explain, is_running, leftovers, probe, write_text
from lightning_monocon.runs.record import RECORD

LOCK = ".lock"
"""File of a folder that is locked while a process writes there."""

_OWNER_BEGINS = '{"pid": '
_ORPHANS_NOTICE = 120.0  # they look every five seconds, on a busy machine less often


@contextmanager
def one_writer(argument: str, folder: Path) -> Iterator[None]:
    """Hold a folder for this process while it writes a result there; the folder is created if missing.

    The lock belongs to the operating system and ends with the process, however it ends. A folder that stays empty is
    removed, if this created it.

    Args:
        argument: Name of the user's argument, for the error.
        folder: The folder.

    Raises:
        ValueError: If another process holds the folder.
        OSError: If it cannot be written to.
    """
    made = [home for home in (folder, *folder.parents) if not home.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"`{argument}` must not be in use; another command writes to {str(folder)!r}. Wait until it has ended, or "
            "choose another."
        ) from None
    try:
        yield
    finally:
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
        lock.release()
        with suppress(OSError):  # it holds something
            for home in made:
                home.rmdir()


class RunFolder:
    """Hold the folder of a run for one process at a time.

    The lock belongs to the operating system and ends with the process, however it ends; ``owner.json`` beside it names
    the process that holds it. The folder of a killed run is taken over.

    Args:
        path: The folder; created if missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = FileLock(self.path / LOCK)

    @property
    def record(self) -> Path:
        """Return the path of the append-only record."""
        return self.path / RECORD

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the run's checkpoints."""
        return self.path / "checkpoints"

    def claim(self, resume: bool) -> None:
        """Take the folder for this process, and clear away what a kill has left: half a row, half a file.

        Args:
            resume: Whether the run resumes what the folder holds.

        Raises:
            RuntimeError: If another process holds the folder, if it holds a run and this is a new one, or if it cannot
                be written to.
        """
        if self._lock.is_locked:
            return

        probe(self.path)
        self._acquire()
        reason = self._not_ours(resume)
        if reason is not None:
            self._lock.release()
            raise RuntimeError(reason)

        for file in (*leftovers(self.path), *leftovers(self.checkpoints)):
            file.unlink(missing_ok=True)
        drop_half_row(self.record)
        try:
            write_text(self._owner, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        except OSError as error:
            self.release()
            raise explain(error, self._owner) from error

    def release(self) -> None:
        """Release the folder; a second call does nothing."""
        if self._lock.is_locked:
            self._owner.unlink(missing_ok=True)
        self._lock.release()

    @property
    def _owner(self) -> Path:
        return self.path / "owner.json"

    def _not_ours(self, resume: bool) -> str | None:
        """Return why this run may not write here, which would overwrite something; ``None`` if it may."""
        if not resume and (self.record.exists() or any(self.checkpoints.glob("*.ckpt"))):
            return (
                f"`--run-dir` must be a new folder; {str(self.path)!r} already holds a run. Choose another, or resume "
                "that run: --resume auto."
            )
        begins = self._owner.read_bytes()[: len(_OWNER_BEGINS)] if self._owner.exists() else b""
        if not _OWNER_BEGINS.encode().startswith(begins):  # a kill may have cut ours short
            return (
                f"`--run-dir` must be a folder of runs alone; {str(self._owner)!r} was written by another program, and "
                "a run would replace it. Choose another."
            )
        return None

    def _acquire(self) -> None:
        holder = self._holder()
        # the loader processes of a killed run hold its lock until they notice
        ended = holder is not None and holder[1] == socket.gethostname() and not is_running(holder[0])
        patience = _ORPHANS_NOTICE if ended else 0
        try:
            self._lock.acquire(timeout=patience)
        except Timeout:
            who = "another run" if holder is None else f"pid {holder[0]} on {holder[1]}"
            raise RuntimeError(
                f"`--run-dir` must not be in use; {str(self.path)!r} is being written by {who}. Choose another."
            ) from None

    def _holder(self) -> tuple[int, str] | None:
        """Return process and host of the run that holds the folder, or held it when it was killed."""
        try:
            stored = json.loads(self._owner.read_text(encoding="utf-8"))
            return int(stored["pid"]), str(stored["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
