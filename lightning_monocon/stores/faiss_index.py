# SPDX-License-Identifier: Apache-2.0
"""Keep codes in an index file of FAISS: flat indexes with ids, whose every search is exact."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.stores.columns import Column, Kind
from lightning_monocon.stores.index_file import IndexFile

faiss = import_module("faiss")  # its types know neither binary indexes of ids nor arrays of ids


class _Index(Protocol):
    """Describe the indexes of faiss, of numbers and of bits."""

    id_map: object

    def add_with_ids(self, rows: np.ndarray, ids: NDArray[np.int64]) -> None: ...
    def remove_ids(self, ids: NDArray[np.int64]) -> int: ...
    def search(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, NDArray[np.int64]]: ...
    def reconstruct(self, one: int) -> np.ndarray: ...


class FaissStore(IndexFile[_Index]):
    """Hold bits in an `IndexBinaryFlat`, and float16 numbers in an `IndexScalarQuantizer` by inner product.

    FAISS has no cosine: for one, float16 rows are divided by their lengths and rounded again.
    """

    title: ClassVar[str] = "FAISS"

    def _new(self, column: Column) -> _Index:
        if column.kind == "bit":
            bits: _Index = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(column.width))
            return bits
        half = faiss.ScalarQuantizer.QT_fp16
        numbers: _Index = faiss.IndexIDMap2(faiss.IndexScalarQuantizer(column.width, half, faiss.METRIC_INNER_PRODUCT))
        return numbers

    def _open(self, path: Path, kind: Kind) -> _Index:
        found: _Index = faiss.read_index_binary(str(path)) if kind == "bit" else faiss.read_index(str(path))
        return found

    def _save(self, index: _Index, path: Path) -> None:
        binary = isinstance(index, faiss.IndexBinary)
        (faiss.write_index_binary if binary else faiss.write_index)(index, str(path))

    def _ids(self, index: _Index) -> NDArray[np.int64]:
        found: NDArray[np.int64] = faiss.vector_to_array(index.id_map)
        return found

    def _add(self, index: _Index, column: Column, ids: NDArray[np.int64], stored: np.ndarray) -> None:
        rows = stored
        if column.kind == "half":
            rows = stored.astype(np.float32)
            if column.metric == "cosine":
                rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        index.add_with_ids(rows, ids)

    def _remove(self, index: _Index, ids: NDArray[np.int64]) -> None:
        index.remove_ids(ids)

    def _search(
        self, index: _Index, column: Column, asked: np.ndarray, count: int, exact: bool
    ) -> Iterator[NDArray[np.int64]]:
        yield from index.search(np.ascontiguousarray(asked), count)[1]

    def _fetch(self, index: _Index, column: Column, ids: NDArray[np.int64]) -> np.ndarray:
        rows = np.stack([index.reconstruct(int(one)) for one in ids])
        return rows if column.kind == "bit" else rows.astype("<f2")
