# SPDX-License-Identifier: Apache-2.0
"""Write checkpoints that are old or new, never half, and read them without running any code in them."""

from __future__ import annotations

import errno
import os
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer

from lightning_monocon.runs import files
from lightning_monocon.runs.files import damage, sidecar
from lightning_monocon.runs.plain_values import plain, serialized

MapLocation = Callable[..., Any] | torch.device | str | dict[str, str] | None


def read_checkpoint(path: str | os.PathLike[str], map_location: torch.device | str | None = "cpu") -> dict[str, Any]:
    """Return the content of a local checkpoint, loaded with ``weights_only=True``.

    Args:
        path: A file on this machine; if it has a sidecar ``<name>.sha256``, its digest is checked first.
        map_location: Where the tensors go.

    Raises:
        ValueError: If the path is a URL, the file is damaged or holds anything but plain values and tensors, or it is
            not a checkpoint of this package.
        FileNotFoundError: If there is no such file.
    """
    if "://" in os.fspath(path):
        raise ValueError(f"`path` must be a file on this machine, got the URL {path!r}. Download and check it first.")
    content = load_plain(Path(path), map_location)
    if "state_dict" not in content or "monocon" not in content:
        raise ValueError(f"`path` must be a checkpoint written by MonoCon, got {str(path)!r}, which is not.")
    return content


def load_plain(file: Path, map_location: MapLocation = "cpu") -> dict[str, Any]:
    """Return the dictionary in a file of plain values and tensors, after checking its digest.

    Raises:
        ValueError: If the file is damaged, or holds code or anything but a dictionary; an older good checkpoint in the
            same folder is named.
        FileNotFoundError: If there is no such file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"`path` must be an existing checkpoint, got {str(file)!r}.")

    reason = damage(file)
    if reason is None:
        try:
            content = torch.load(file, map_location=map_location, weights_only=True)
        except Exception as error:  # the unpickler raises many kinds of errors on damaged bytes
            reason = _in_short(error)
        else:
            if isinstance(content, dict):
                return content
            reason = f"it holds a {type(content).__name__}, not a dictionary"

    raise ValueError(
        f"`path` must be a whole checkpoint of plain values and tensors; {str(file)!r} ({file.stat().st_size} bytes) "
        f"is damaged or holds code: {reason}. {_instead(file)}"
    )


def newest_good(folder: Path) -> tuple[Path | None, list[Path]]:
    """Return the checkpoint of a folder to resume from, and the damaged ones that are newer.

    It is the newest whole checkpoint that resumes exactly; if there is none, the newest whole one, and `ExactResume`
    warns that something is missing from it. A file with a sidecar is checked by its digest; one without is opened.

    Raises:
        ValueError: If a file is whole but cannot be read safely: a run that starts again would overwrite it.
    """
    torn: list[Path] = []
    inexact: tuple[Path, list[Path]] | None = None

    for file in _newest_first(folder):
        reason = _fault(file)
        if reason is None:
            if _resumes_exactly(file):
                return file, torn
            inexact = inexact or (file, list(torn))
        elif _is_intact(file):
            raise ValueError(
                f"The newest checkpoint must hold plain values and tensors only; {str(file)!r} "
                f"({file.stat().st_size} bytes) is whole, but cannot be read: {reason}. Nothing was changed: move it "
                "out of its folder to resume from an older one, or start a new run in another folder."
            )
        else:
            torn.append(file)

    return inexact or (None, torn)


def _resumes_exactly(file: Path) -> bool:
    """Return whether a checkpoint was written between two steps; one without that entry is assumed to be."""
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return bool(content.get("callbacks", {}).get("ExactResume", {}).get("exact", True))


def _newest_first(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder by time; of two written at once, ``last.ckpt`` comes first."""
    found = [file for file in folder.glob("*.ckpt") if file.is_file()]
    return sorted(found, key=lambda file: (file.stat().st_mtime_ns, file.stem == "last", file.name), reverse=True)


def _fault(file: Path) -> str | None:
    """Return why a checkpoint cannot be resumed from; ``None`` if it can."""
    reason = damage(file)
    if reason is not None:
        return reason
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the unpickler raises many kinds of errors on damaged bytes
        return _in_short(error)
    return None if isinstance(content, dict) else f"it holds a {type(content).__name__}, not a dictionary"


def _is_intact(file: Path) -> bool:
    """Return whether a file is as it was written, by its digest or by the checksums that torch keeps within it."""
    if sidecar(file).exists():
        return damage(file) is None
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError):
        return False


def _instead(file: Path) -> str:
    """Return a sentence that names the checkpoint to take instead of a damaged one."""
    others = [other for other in _newest_first(file.parent) if other.name != file.name]
    older = [other for other in others if other.stat().st_mtime_ns <= file.stat().st_mtime_ns] or others
    good = next((other for other in older if _fault(other) is None), None)
    return f"The next older good one is {str(good)!r}." if good else "There is no older good one beside it."


def _in_short(error: Exception) -> str:
    """Return torch's message about a file, without its advice to load the file unsafely."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "GLOBAL" in line), lines[0].split(". ")[0]).rstrip(".")


class DurableCheckpointIO(TorchCheckpointIO):
    """Write checkpoints so that a kill, a full disk or a power cut leaves the old file or the new one.

    Lightning writes a checkpoint to ``$TMPDIR`` and moves it, which is a copy if that is another disk, and flushes
    nothing. Here it is serialised to memory, written beside its name, flushed and renamed, and its sha256 is kept in
    ``<name>.sha256``. Loading checks that digest first and accepts plain values and tensors only
    (``weights_only=True``), whatever the arguments.

    A script needs ``Trainer(plugins=[DurableCheckpointIO()])``; the command always uses it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     DurableCheckpointIO().save_checkpoint({"step": 3}, folder + "/a.ckpt")
        ...     names = sorted(os.listdir(folder))
        ...     content = DurableCheckpointIO().load_checkpoint(folder + "/a.ckpt")
        >>> names, content
        (['a.ckpt', 'a.ckpt.sha256'], {'step': 3})
    """

    def __init__(self) -> None:
        self._folders: dict[Path, tuple[int, int]] = {}  # the identity of each folder when it was first written to

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: object = None
    ) -> None:
        """Write a checkpoint to a local file.

        Raises:
            ValueError: If the path is a URL.
            TypeError: If there are ``storage_options``; a local file has none.
            WriteError: If there is no room, writing is not allowed, the folder was moved, or the checkpoint holds
                anything but plain values and tensors; earlier checkpoints are intact.
        """
        if storage_options is not None:
            raise TypeError(f"`storage_options` must be None for a local file, got {storage_options!r}.")
        file = _local(path)
        content = _readable(checkpoint, repr(file.name))
        if file.parent in self._folders and self._folders[file.parent] != _identity(file.parent):
            raise files.explain(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), file)
        files.write(file, content.getbuffer())
        self.note(file.parent)

    def note(self, folder: Path) -> None:
        """Remember which folder a path names, so that no new folder is created in its place if it is moved away."""
        if (identity := _identity(folder)) is not None:
            self._folders.setdefault(folder, identity)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Callable[..., Any] | torch.device | str | dict[str, str] | None = "cpu",
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Return the content of a checkpoint, as `load_plain` does; ``weights_only`` is always taken as ``True``."""
        return load_plain(_local(path), map_location)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint and its sidecar."""
        files.remove(_local(path))


class PlainCheckpointIO(TorchCheckpointIO):
    """Write as Lightning does and read as `DurableCheckpointIO` does; `MonoCon` uses it by default."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: object = None
    ) -> None:
        """Write a checkpoint, unless it holds something that `load_checkpoint` would refuse.

        Raises:
            WriteError: If the checkpoint holds anything but plain values and tensors.
        """
        _readable(checkpoint, repr(os.path.basename(path)))
        super().save_checkpoint(plain(checkpoint), os.fspath(path), storage_options)

    load_checkpoint = DurableCheckpointIO.load_checkpoint


def probe_checkpoint_folders(trainer: Trainer) -> None:
    """Check before the first step that checkpoint callbacks can write to their folders, and that states are plain.

    Otherwise a run whose checkpoints cannot be written would train to its end and leave nothing.

    Raises:
        WriteError: If a folder cannot be written to, or a state that will be saved is not plain.
    """
    if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
        return
    for callback in trainer.checkpoint_callbacks:
        folder = getattr(callback, "dirpath", None)
        if folder is not None and "://" not in str(folder):
            files.probe(Path(folder))
            if isinstance(trainer.strategy.checkpoint_io, DurableCheckpointIO):
                trainer.strategy.checkpoint_io.note(Path(folder))
    if trainer.checkpoint_callbacks and isinstance(
        trainer.strategy.checkpoint_io, DurableCheckpointIO | PlainCheckpointIO
    ):
        _readable(_states(trainer, trainer.lightning_module), "the states of this run")


def _states(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Return the parts of a checkpoint that exist before the first step and are the user's own."""
    found: dict[str, Any] = {"hyper_parameters": dict(module.hparams), "callbacks": {}}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it elsewhere
        try:
            found["callbacks"][callback.state_key] = callback.state_dict()
        except Exception:  # a state that does not exist yet is checked when it is saved
            continue
    return found


def _readable(checkpoint: dict[str, Any], name: str) -> BytesIO:
    try:
        return serialized(plain(checkpoint), name)
    except TypeError as error:
        raise files.WriteError(str(error)) from error


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _local(path: str | os.PathLike[str]) -> Path:
    if "://" in os.fspath(path):
        raise ValueError(f"`path` must be a file on this machine, got the URL {os.fspath(path)!r}.")
    return Path(path)
