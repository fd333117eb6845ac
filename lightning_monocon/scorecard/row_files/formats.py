# SPDX-License-Identifier: Apache-2.0
"""Read one Parquet or safetensors file of embeddings a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from lightning_monocon.inference.shards import Ids
from lightning_monocon.scorecard.arrays import PARQUET, array_names, read_array, whole_file
from lightning_monocon.scorecard.columns import column_as_array, import_parquet, plain_column
from lightning_monocon.scorecard.embeddings import as_tensor
from lightning_monocon.scorecard.row_files.source import BLOCK, Piece, check_matrix

SAFETENSORS = ".safetensors"
STREAMED = (PARQUET, SAFETENSORS)
"""Endings of the files that are read as a stream."""

_READ_AHEAD = 1 << 20
"""Bytes that pyarrow reads at a time; without a bound it reads a whole column of a row group."""


class Shape(NamedTuple):
    """Say what a file holds, without its rows.

    Attributes:
        shape: ``(N, D)``.
        dtype: Of the rows, as a torch dtype.
        stamp: Digest of the model that wrote them, if the file has one.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    stamp: str


class _Format(NamedTuple):
    """Hold how a kind of file is read."""

    shape: Callable[[Path, str], Shape]
    pieces: Callable[[Path, str], Iterator[Piece]]
    ids: Callable[[Path, str], Iterator[Ids]]


def shape_of(path: Path, name: str) -> Shape:
    """Return the shape of an array or column of embeddings.

    Raises:
        ValueError: If the file is damaged, empty, or the array is not a matrix of floating-point numbers.
    """
    found = _FORMATS[path.suffix].shape(path, name)
    check_matrix(path, name, found.shape, found.dtype)
    return found


def has_rows(path: Path) -> bool:
    """Return whether a file of a stream has rows: programs that write in parts write empty ones too.

    Raises:
        ValueError: If the file is damaged.
    """
    if path.suffix != PARQUET:
        with whole_file(path), safe_open(path, framework="pt") as tensors:
            shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]
        return any(shape[:1] != [0] for shape in shapes)
    with whole_file(path), _parquet(path) as file:
        return bool(file.metadata.num_rows)


def pieces_of(path: Path, name: str) -> Iterator[Piece]:
    """Yield the rows of an array or column of embeddings.

    Raises:
        ValueError: If the file is damaged.
    """
    yield from _FORMATS[path.suffix].pieces(path, name)


def ids_in(path: Path, name: str) -> Iterator[Ids]:
    """Yield an array or column of ids, integers or texts.

    Raises:
        TypeError: If it holds anything else.
        ValueError: If the file is damaged, or an id is missing.
    """
    for ids in _FORMATS[path.suffix].ids(path, name):
        if ids.ndim != 1 or ids.dtype.kind not in "iuU":
            raise TypeError(
                f"`ids` must be integers or texts, one a row; {path}:{name} holds {ids.dtype} of shape {ids.shape}: "
                "write them as texts, or name another column of ids."
            )
        yield ids


def chosen_name(path: Path, names: tuple[str, ...]) -> str | None:
    """Return the first of some usual names that a file has; None if it has none of them."""
    there = array_names(path)
    return next((name for name in names if name in there), None)


def labels_in(path: Path, name: str) -> NDArray[Any]:
    """Return an array or column of labels, integers or texts.

    Raises:
        TypeError: If it holds anything else.
    """
    labels = np.asarray(read_array(path, name))
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise TypeError(
            f"`labels` must be integers or texts, one a row; {path}:{name} holds {labels.dtype} of shape "
            f"{labels.shape}: write them as integers."
        )
    return labels


def _safetensors_shape(path: Path, name: str) -> Shape:
    with whole_file(path), safe_open(path, framework="pt") as file:
        part, stamp = file.get_slice(name), (file.metadata() or {}).get("model", "")
        shape = tuple(part.get_shape())
        return Shape(shape, part[:1].dtype if shape else torch.float32, stamp)


def _safetensors_pieces(path: Path, name: str) -> Iterator[Piece]:
    rows = _safetensors_shape(path, name).shape[0]
    for start in range(0, rows, BLOCK):
        # opened for every block: pages of a mapped file count as memory until it is closed
        with whole_file(path), safe_open(path, framework="pt") as file:
            piece = file.get_slice(name)[start : start + BLOCK].clone()
        yield Piece(str(path), start, piece)


def _safetensors_ids(path: Path, name: str) -> Iterator[Ids]:
    yield as_tensor("ids", read_array(path, name)).numpy()


def _parquet_shape(path: Path, name: str) -> Shape:
    with whole_file(path), _parquet(path) as file:
        stamp = (file.schema_arrow.metadata or {}).get(b"model", b"").decode("utf-8", "replace")
        rows = file.metadata.num_rows
    first = next(_parquet_batches(path, name, 1), np.empty(0))
    return Shape((rows, *first.shape[1:]), as_tensor("files", first, f"{path}:{name}").dtype, stamp)


def _parquet_pieces(path: Path, name: str) -> Iterator[Piece]:
    start = 0
    for batch in _parquet_batches(path, name):
        yield Piece(str(path), start, as_tensor("files", batch, f"{path}:{name}"))
        start += len(batch)


def _parquet_batches(path: Path, name: str, size: int = BLOCK) -> Iterator[Any]:
    start = 0
    with whole_file(path):
        file = _parquet(path)
        batches = file.iter_batches(batch_size=size, columns=[name], use_threads=False)
    while True:
        with whole_file(path):  # not around a `yield`, where it would take the caller's errors for damage
            batch = next(batches, None)
            chunks = [] if batch is None else plain_column(batch.column(0))
        if batch is None:
            file.close()
            return
        yield column_as_array(f"{path}:{name} from row {start} on", chunks)
        start += batch.num_rows


def _parquet(path: Path) -> Any:  # noqa: ANN401  # pyarrow ships no types
    return import_parquet(path).ParquetFile(path, buffer_size=_READ_AHEAD, pre_buffer=False)


_FORMATS = {
    SAFETENSORS: _Format(_safetensors_shape, _safetensors_pieces, _safetensors_ids),
    PARQUET: _Format(_parquet_shape, _parquet_pieces, _parquet_batches),
}
