# SPDX-License-Identifier: Apache-2.0
"""Keep codes in an index file of usearch: bits by Hamming distance, float16 numbers by cosine or inner product."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from lightning_monocon.stores.columns import Column, Kind
from lightning_monocon.stores.index_file import IndexFile

_METRICS = {"hamming": "hamming", "cosine": "cos", "dot": "ip"}


class UsearchStore(IndexFile[Index]):
    """Hold codes in a graph index of usearch, which also searches them all where a search must be exact.

    Keys of usearch have no sign, and it loses the largest one, which would be -1, without an error: ids are from 0.
    """

    title: ClassVar[str] = "usearch"

    def _new(self, column: Column) -> Index:
        return Index(ndim=column.width, metric=_METRICS[column.metric], dtype="b1" if column.kind == "bit" else "f16")

    def _open(self, path: Path, kind: Kind) -> Index:
        found = Index.restore(str(path))
        assert found is not None, "the file was looked at before"
        return found

    def _save(self, index: Index, path: Path) -> None:
        index.save(str(path))

    def _ids(self, index: Index) -> NDArray[np.int64]:
        found: NDArray[np.int64] = np.asarray(index.keys[:]).astype(np.int64)
        return found

    def _add(self, index: Index, column: Column, ids: NDArray[np.int64], stored: np.ndarray) -> None:
        if ids.min() < 0:
            raise ValueError(f"`OUT` must hold ids from 0 for usearch; got {ids.min()}: number the rows otherwise.")
        index.add(ids.astype(np.uint64), np.ascontiguousarray(stored), threads=1)

    def _remove(self, index: Index, ids: NDArray[np.int64]) -> None:
        for one in ids:
            index.remove(int(one.astype(np.uint64)))  # an earlier version took ids below zero

    def _search(
        self, index: Index, column: Column, asked: np.ndarray, count: int, exact: bool
    ) -> Iterator[NDArray[np.int64]]:
        for one in asked:
            yield index.search(one, count, exact=exact).keys.astype(np.int64)

    def _fetch(self, index: Index, column: Column, ids: NDArray[np.int64]) -> np.ndarray:
        rows = index.get(ids.astype(np.uint64))
        if rows is None or any(row is None for row in rows):
            raise KeyError("a key is gone")
        return np.asarray(rows) if column.kind == "bit" else np.asarray(rows, "<f2")
