# SPDX-License-Identifier: Apache-2.0
"""Read what is put into a store: a folder of `monocon shrink` with its codec, the codes and their ids."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.codes import Codec
from lightning_monocon.codes.files import load as load_codec


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
    """

    folder: Path
    codec: Codec
    stamp: str
    codes: NDArray[np.uint8] = field(repr=False)
    ids: NDArray[Any] = field(repr=False)
    queries: NDArray[np.float32] | None = field(default=None, repr=False)
    nearest: NDArray[Any] | None = field(default=None, repr=False)

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
    if not (folder / "codes.npy").is_file():
        raise FileNotFoundError(
            f"`OUT` must hold codes.npy, as `monocon shrink --out` writes it; {folder} has none: give that folder."
        )
    codes = np.load(folder / "codes.npy", mmap_mode="c", allow_pickle=False)
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != codec.bytes_per_vector:
        raise ValueError(
            f"`OUT` must hold codes (N, {codec.bytes_per_vector}) uint8 of its codec {codec.name}; got "
            f"{codes.shape} {codes.dtype}: write the folder again with `monocon shrink`."
        )
    stamp = str(json.loads((folder / "codec.json").read_text("utf-8"))["stamp"])
    return Bundle(folder, codec, stamp, codes, _ids(folder, len(codes)), *_queries(folder))


def check_ids(name: str, ids: NDArray[Any]) -> None:
    """Raise ValueError unless ids are int64 or text and each occurs once."""
    if ids.dtype.kind not in "iuU":
        raise ValueError(f"`{name}` must be integers or text; got {ids.dtype}: convert them.")
    found, counts = np.unique(ids, return_counts=True)
    if len(found) < len(ids):
        twice = ", ".join(str(one) for one in found[counts > 1][:3])
        raise ValueError(
            f"`{name}` must name each row once; {int((counts > 1).sum())} occur more often, such as {twice}: give a "
            "column of unique ids."
        )


def _ids(folder: Path, count: int) -> NDArray[Any]:
    path = folder / "ids.npy"
    if not path.is_file():
        return np.arange(count)
    ids = np.load(path, allow_pickle=False)
    if len(ids) != count:
        raise ValueError(f"`OUT` must hold one id a code; {folder} has {len(ids)} ids and {count} codes.")
    check_ids("ids.npy", ids)
    found: NDArray[Any] = ids.astype(np.int64) if ids.dtype.kind in "iu" else ids
    return found


def _queries(folder: Path) -> tuple[NDArray[np.float32] | None, NDArray[Any] | None]:
    path = folder / "queries.npz"
    if not path.is_file():
        return None, None
    with np.load(path, allow_pickle=False) as file:
        return file["queries"], file["nearest"] if "nearest" in file.files else None
