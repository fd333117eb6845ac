# SPDX-License-Identifier: Apache-2.0
"""Read what is put into a store: a folder of `monocon shrink` with its codec, the codes and their ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lightning_monocon.codes import Codec, domain
from lightning_monocon.codes.domain import Domain
from lightning_monocon.codes.files import load as load_codec
from lightning_monocon.inference.row_ids import check_ids
from lightning_monocon.runs.files import whole

_CHANGE = "rows.npz"
"""Codes and ids of a change that was decided and is not in the two files yet."""

_LOCK = ".rows.lock"
_PATIENCE = 10.0
"""Seconds to wait for a process that writes the two files just now."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """Hold a codec and what it encoded.

    Attributes:
        folder: Where it was read from.
        codec: The codec.
        stamp: SHA-256 of the codec, which names its space.
        codes: ``(N, bytes)`` uint8, mapped from the file.
        ids: ``(N,)`` int64 or text, each once; row numbers if the rows had none.
        queries: ``(Q, D)`` float32 queries that the code was certified on; None if there are none.
        nearest: ``(Q, K)`` ids of their exact neighbours by whole vectors; None if unknown.
        domain: What the code usually loses of a row; None if the folder does not tell.
    """

    folder: Path
    codec: Codec
    stamp: str
    codes: NDArray[np.uint8] = field(repr=False)
    ids: NDArray[Any] = field(repr=False)
    queries: NDArray[np.float32] | None = field(default=None, repr=False)
    nearest: NDArray[Any] | None = field(default=None, repr=False)
    domain: Domain | None = None

    def __len__(self) -> int:
        """Return the number of codes."""
        return len(self.codes)


def read_bundle(folder: str | Path) -> Bundle:
    """Read a folder that ``monocon shrink --out`` wrote.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If codes and codec do not fit, or an id occurs twice.
    """
    folder = Path(folder)
    codec = load_codec(folder)
    _finish_change(folder)
    if not (folder / "codes.npy").is_file():
        raise FileNotFoundError(
            f"`OUT` must hold codes.npy, as `monocon shrink --out` writes it; {folder} has none: give that folder."
        )
    with _whole(folder, "codes.npy"):
        codes = np.load(folder / "codes.npy", mmap_mode="c", allow_pickle=False)
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != codec.bytes_per_vector:
        raise ValueError(
            f"`OUT` must hold codes (N, {codec.bytes_per_vector}) uint8 of its codec {codec.name}; got "
            f"{codes.shape} {codes.dtype}: write the folder again with `monocon shrink`."
        )
    stamp = str(json.loads((folder / "codec.json").read_text("utf-8"))["stamp"])
    known = domain.load(folder, stamp)
    return Bundle(folder, codec, stamp, codes, _ids(folder, len(codes)), *_queries(folder, codec.dim), known)


def write_rows(bundle: Bundle) -> None:
    """Write the codes and ids of a bundle into its folder, and its queries if their neighbours are not known any more.

    Two files cannot be replaced at once. Both arrays are therefore written into one first, and `read_bundle` finishes
    what a killed process left.

    Raises:
        OSError: If there is no room, or writing is not allowed.
    """
    if bundle.queries is not None and bundle.nearest is None:
        with whole(bundle.folder / "queries.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, queries=bundle.queries)
    with whole(bundle.folder / _CHANGE) as temporary, temporary.open("wb") as file:
        np.savez(file, ids=bundle.ids, codes=bundle.codes)
    _settle(bundle.folder, bundle.ids, bundle.codes)


@contextmanager
def changing(bundle: Bundle) -> Iterator[None]:
    """Keep other processes from changing the folder of a bundle.

    Raises:
        ConnectionError: If another process changes it.
        ValueError: If one has changed it since it was read.
    """
    with _locked(bundle.folder, 0.0):
        codes = np.load(bundle.folder / "codes.npy", mmap_mode="r", allow_pickle=False)
        if not np.array_equal(_ids(bundle.folder, len(codes)), bundle.ids):
            raise ValueError(
                f"`bundle` must be what its folder holds; the rows of {bundle.folder} are others since it was read: "
                "read it again."
            )
        yield


def _finish_change(folder: Path) -> None:
    """Write the two files of a change that a killed process decided and did not finish."""
    if not (folder / _CHANGE).is_file():
        return
    with _locked(folder, _PATIENCE):
        if (folder / _CHANGE).is_file():  # and no other process has finished it meanwhile
            with _whole(folder, _CHANGE), np.load(folder / _CHANGE, allow_pickle=False) as file:
                ids, codes = file["ids"], file["codes"]
            _settle(folder, ids, codes)


def _settle(folder: Path, ids: NDArray[Any], codes: NDArray[np.uint8]) -> None:
    _write(folder / "ids.npy", ids)
    _write(folder / "codes.npy", codes)
    (folder / _CHANGE).unlink()


@contextmanager
def _locked(folder: Path, patience: float) -> Iterator[None]:
    try:
        with FileLock(folder / _LOCK).acquire(timeout=patience):
            yield
    except Timeout:
        raise ConnectionError(
            f"`OUT` must be a folder that no other process changes; the rows of {folder} are being changed: try again "
            "when that has ended."
        ) from None


def _ids(folder: Path, count: int) -> NDArray[Any]:
    path = folder / "ids.npy"
    if not path.is_file():
        return np.arange(count)
    with _whole(folder, path.name):
        ids = np.load(path, allow_pickle=False)
    if len(ids) != count:
        raise ValueError(f"`OUT` must hold one id a code; {folder} has {len(ids)} ids and {count} codes.")
    check_ids("ids.npy", ids)
    found: NDArray[Any] = ids.astype(np.int64) if ids.dtype.kind in "iu" else ids
    return found


def _queries(folder: Path, width: int) -> tuple[NDArray[np.float32] | None, NDArray[Any] | None]:
    path = folder / "queries.npz"
    if not path.is_file():
        return None, None
    # opened here, because np.load leaves a damaged archive open
    with _whole(folder, path.name), path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        queries, nearest = file["queries"], file["nearest"] if "nearest" in file.files else None
    if queries.ndim != 2 or queries.shape[1] != width:
        raise ValueError(
            f"`OUT` must hold queries of the {width} numbers of its codec; got {queries.shape} in {path}: write the "
            "folder again with `monocon shrink`."
        )
    return queries, nearest


def _write(path: Path, array: np.ndarray) -> None:
    with whole(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


@contextmanager
def _whole(folder: Path, name: str) -> Iterator[None]:
    """Raise ValueError that names a file of arrays if it cannot be read."""
    try:
        yield
    except (ValueError, EOFError, KeyError, BadZipFile) as error:
        raise ValueError(
            f"`OUT` must hold a whole {name}; that of {folder} is damaged: write the folder again with "
            "`monocon shrink`."
        ) from error
