# SPDX-License-Identifier: Apache-2.0
"""Keep decoded images as memory-mapped arrays, so that a data set is decoded once on a machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from lightning_monocon.data.images.table import ImageTable
from lightning_monocon.runs.files import whole, write_text

_DECODING = 2
"""Version of the rules by which files become pixels; a new version needs new arrays, whose values differ."""


def cache_key(files: Iterable[Path], *options: object) -> str:
    """Return a name that changes with the files' names, sizes and times, and with the rules and options of decoding."""
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files)]
    return hashlib.sha256(repr((_DECODING, stamps, options)).encode()).hexdigest()[:24]


def cached(folder: Path | None, key: str, decode: Callable[[], ImageTable]) -> ImageTable:
    """Return the table of ``decode``, from the folder if it is there; without a folder nothing is kept.

    Each file is complete or absent, so that processes may share the folder, and a killed one leaves no half table.
    """
    if folder is None:
        return decode()
    images, rest = folder / f"{key}.npy", folder / f"{key}.json"
    if not rest.is_file():  # it is written last
        table = decode()
        plain = {"labels": table.labels.tolist(), "classes": table.classes, "unreadable": table.unreadable}
        with whole(images) as path, path.open("wb") as file:  # given a path, numpy would add to its suffix
            np.save(file, table.images)
        write_text(rest, json.dumps(plain))
    stored = json.loads(rest.read_text(encoding="utf-8"))
    labels = np.asarray(stored["labels"], np.int64)
    table = ImageTable(np.load(images, mmap_mode="r"), labels, tuple(stored["classes"]), tuple(stored["unreadable"]))
    return table.checked(str(images))
