# SPDX-License-Identifier: Apache-2.0
"""Read a checkpoint without running anything that is in it, and find the newest one that is whole."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lightning_monocon.durable_files import damage, sidecar

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
