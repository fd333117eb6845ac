# SPDX-License-Identifier: Apache-2.0
"""Decoded images as memory-mapped arrays, so that a data set is decoded once on a machine."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from lightning_monocon.data.images.table import ImageTable

_DECODING = 2
"""Version of the rules by which files become pixels; a new one makes new arrays, as the old ones hold other values."""


def cache_key(files: Iterable[Path], *options: object) -> str:
    """Return a name that changes with the files' names, sizes and times, and with the rules and options of decoding."""
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files)]
    return hashlib.sha256(repr((_DECODING, stamps, options)).encode()).hexdigest()[:24]


def cached(folder: Path | None, key: str, decode: Callable[[], ImageTable]) -> ImageTable:
    """Return what ``decode`` returns, from the folder if it is there.

    Each file is complete or absent, so that processes may share the folder, and a killed one leaves no half table.

    Args:
        folder: Where the arrays are kept; ``None`` keeps nothing.
        key: From `cache_key`.
        decode: Makes the table.
    """
    if folder is None:
        return decode()
    images, rest = folder / f"{key}.npy", folder / f"{key}.json"
    if not rest.is_file():  # it is written last
        table = decode()
        folder.mkdir(parents=True, exist_ok=True)
        plain = {"labels": table.labels.tolist(), "classes": table.classes, "unreadable": table.unreadable}
        _write(images, lambda path: np.save(path, table.images))
        _write(rest, lambda path: path.write_text(json.dumps(plain), encoding="utf-8"))
    stored = json.loads(rest.read_text(encoding="utf-8"))
    labels = np.asarray(stored["labels"], np.int64)
    table = ImageTable(np.load(images, mmap_mode="r"), labels, tuple(stored["classes"]), tuple(stored["unreadable"]))
    return table.checked(str(images))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        write(Path(name))
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
