# SPDX-License-Identifier: Apache-2.0
"""A checkpoint plugin that never leaves half a file, and never believes one."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer

from lightning_monocon import durable_files
from lightning_monocon.checkpoints import load_plain


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

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any | None = None,  # noqa: ANN401  # Lightning's signature
    ) -> None:
        """Write a checkpoint to a local file.

        Raises:
            ValueError: If the path is a URL.
            TypeError: If there are ``storage_options``; a local file has none.
            WriteError: If there is no room, or writing is not allowed; earlier checkpoints are intact.
        """
        if storage_options is not None:
            raise TypeError(f"`storage_options` must be None for a local file, got {storage_options!r}.")
        file = _local(path)
        buffer = BytesIO()  # straight to the file, torch would hide a full disk behind an error of its own
        torch.save(checkpoint, buffer)
        durable_files.write(file, buffer.getbuffer())

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
    """Lightning's own writing and the reading of `DurableCheckpointIO`; what a `MonoCon` falls back on."""

    load_checkpoint = DurableCheckpointIO.load_checkpoint


def probe_checkpoint_folders(trainer: Trainer) -> None:
    """Write to every folder that a checkpoint callback will write to, before the first step.

    Without it a run in a folder that it may not write to trains to its end and leaves nothing.

    Raises:
        WriteError: If a folder cannot be written to.
    """
    if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
        return
    for callback in trainer.checkpoint_callbacks:
        folder = getattr(callback, "dirpath", None)
        if folder is not None and "://" not in str(folder):
            durable_files.probe(Path(folder))


def _local(path: str | os.PathLike[str]) -> Path:
    if "://" in os.fspath(path):
        raise ValueError(f"`path` must be a file on this machine, got the URL {os.fspath(path)!r}.")
    return Path(path)
