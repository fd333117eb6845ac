# SPDX-License-Identifier: Apache-2.0
"""A checkpoint plugin that never leaves half a file, and never believes one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer

from lightning_monocon import durable_files
from lightning_monocon.checkpoints import load_plain
from lightning_monocon.plain_values import plain, serialized


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
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: object = None,
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
            raise durable_files.explain(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), file)
        durable_files.write(file, content.getbuffer())
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
        durable_files.remove(_local(path))


class PlainCheckpointIO(TorchCheckpointIO):
    """Write as Lightning does and read as `DurableCheckpointIO` does; what a `MonoCon` falls back on."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: object = None,
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
            durable_files.probe(Path(folder))
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
        raise durable_files.WriteError(str(error)) from error


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
