# SPDX-License-Identifier: Apache-2.0
"""Write checkpoints that are old or new, never half, and read them without running anything that is in them."""

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
        path: A file on this machine; where it has a sidecar ``<name>.sha256``, its digest is checked first.
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
        except Exception as error:  # from damaged bytes the unpickler raises whatever it stumbles over
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

    It is the newest whole one that resumes exactly; where none does, the newest whole one, and `ExactResume` says that
    something is missing from it. A file without a sidecar is opened to see whether it is whole; one with a sidecar is
    known by its digest.

    Raises:
        ValueError: If a file is whole, but nothing safe can read it: a run that starts again would write over it.
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
    """Whether a checkpoint was written between two steps; one that does not say is believed."""
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return bool(content.get("callbacks", {}).get("ExactResume", {}).get("exact", True))


def _newest_first(folder: Path) -> list[Path]:
    """Checkpoints of a folder by time; of two written at once, the one whose name says that it is the last."""
    found = [file for file in folder.glob("*.ckpt") if file.is_file()]
    return sorted(found, key=lambda file: (file.stat().st_mtime_ns, file.stem == "last", file.name), reverse=True)


def _fault(file: Path) -> str | None:
    """Say why a checkpoint cannot be resumed from; ``None`` if it can."""
    reason = damage(file)
    if reason is not None:
        return reason
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # from damaged bytes the unpickler raises whatever it stumbles over
        return _in_short(error)
    return None if isinstance(content, dict) else f"it holds a {type(content).__name__}, not a dictionary"


def _is_intact(file: Path) -> bool:
    """Whether a file is as it was written: by its digest, or by the checksums that torch keeps within it."""
    if sidecar(file).exists():
        return damage(file) is None
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError):
        return False


def _instead(file: Path) -> str:
    """Say which checkpoint of the folder to take in place of a damaged one."""
    others = [other for other in _newest_first(file.parent) if other.name != file.name]
    older = [other for other in others if other.stat().st_mtime_ns <= file.stat().st_mtime_ns] or others
    good = next((other for other in older if _fault(other) is None), None)
    return f"The next older good one is {str(good)!r}." if good else "There is no older good one beside it."


def _in_short(error: Exception) -> str:
    """What torch says of a file, without its advice to load it all the same."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "GLOBAL" in line), lines[0].split(". ")[0]).rstrip(".")


class DurableCheckpointIO(TorchCheckpointIO):
    """Write checkpoints so that a kill, a full disk or a power cut leaves the old file or the new one.

    Lightning stages a checkpoint in ``$TMPDIR`` and moves it, which is a copy where that is another disk, and flushes
    nothing. Here it is serialised to memory, written beside its name, flushed, renamed, and its sha256 kept in
    ``<name>.sha256``. Loading checks that digest first and takes plain values and tensors only (``weights_only=True``),
    whatever it is asked for.

    ``Trainer(plugins=[DurableCheckpointIO()])`` is all that a script needs; the command always has it.

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
        self._folders: dict[Path, tuple[int, int]] = {}  # which folder each path was when it was first written to

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
        """Remember a folder as it is now; where it is moved away later, no other one is made in its place."""
        if (identity := _identity(folder)) is not None:
            self._folders.setdefault(folder, identity)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Callable[..., Any] | torch.device | str | dict[str, str] | None = "cpu",
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Return the content of a local checkpoint whose digest is the one in its sidecar, where it has one.

        Args:
            path: The file.
            map_location: Where the tensors go.
            weights_only: Lightning's argument; nothing but ``True`` ever happens.

        Raises:
            ValueError: If the path is a URL, or the file is damaged or holds code; an older good one is named.
            FileNotFoundError: If there is no such file.
        """
        return load_plain(_local(path), map_location)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint and its sidecar."""
        files.remove(_local(path))


class PlainCheckpointIO(TorchCheckpointIO):
    """Write as Lightning does and read as `DurableCheckpointIO` does; what a `MonoCon` falls back on."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: object = None
    ) -> None:
        """Write a checkpoint, unless it holds what `load_checkpoint` would refuse.

        Raises:
            WriteError: If the checkpoint holds anything but plain values and tensors.
        """
        _readable(checkpoint, repr(os.path.basename(path)))
        super().save_checkpoint(plain(checkpoint), os.fspath(path), storage_options)

    load_checkpoint = DurableCheckpointIO.load_checkpoint


def probe_checkpoint_folders(trainer: Trainer) -> None:
    """Write to every folder that a checkpoint callback will write to, before the first step, and look at the states.

    Without it a run whose checkpoints cannot be written trains to its end and leaves nothing.

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
        except Exception:  # a state that does not exist yet is looked at when it is saved
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
