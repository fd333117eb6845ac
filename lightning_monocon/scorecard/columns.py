# SPDX-License-Identifier: Apache-2.0
"""Columns of Parquet files as arrays: numbers, strings, and lists of numbers as the rows of a matrix."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow

Array = NDArray[Any]


def import_parquet(path: Path) -> ModuleType:
    """Import `pyarrow.parquet` for the file at ``path``; raise ModuleNotFoundError if pyarrow is not installed."""
    try:
        return import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"`files` in Parquet need pyarrow; {path} is one: `pip install pyarrow`.") from error


def plain_chunks(column: pyarrow.ChunkedArray) -> list[pyarrow.Array]:
    """Return the chunks of a `pyarrow.ChunkedArray` that have rows, without their wrapping.

    The storage of an extension type, and the values of a dictionary (pandas Categorical, polars Enum). They are
    validated: of a damaged file some arrays refer to places that are not there.
    """
    return [chunk for part in column.chunks for chunk in plain_column(part)]


def plain_column(array: pyarrow.Array) -> list[pyarrow.Array]:
    """Return a `pyarrow.Array`, such as a column of one batch, without its wrapping; an empty list if it is empty."""
    if not len(array):
        return []
    plain = _plain(array)
    plain.validate(full=True)
    return [plain]


def _plain(chunk: pyarrow.Array) -> pyarrow.Array:
    chunk = getattr(chunk, "storage", chunk)  # of an extension type, such as a tensor of fixed shape
    return chunk.dictionary_decode() if hasattr(chunk, "dictionary_decode") else chunk


def column_as_array(where: str, chunks: list[pyarrow.Array]) -> Array:
    """Return a column ``(N,)`` as an array, or a column of lists of one length as a matrix ``(N, D)``.

    Args:
        where: The file and the name of the column, for messages.
        chunks: Its `plain_chunks`.

    Raises:
        ValueError: If a value is missing, the column is empty, or its lists have several lengths.
        TypeError: If its values are neither numbers nor strings nor lists of numbers.
    """
    if not chunks:
        raise ValueError(f"`files` must hold at least one row; {where} has none.")
    _check_gaps(where, chunks)
    if hasattr(chunks[0], "value_lengths"):
        return _matrix(where, chunks)
    return np.concatenate([_values(where, chunk) for chunk in chunks])


def _check_gaps(where: str, chunks: list[pyarrow.Array]) -> None:
    if any(chunk.null_count for chunk in chunks):
        missing = np.concatenate([chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks])
        raise ValueError(
            f"`files` must have a value in every row; {where} lacks {missing.sum()} of {len(missing)} (null; row "
            f"{missing.argmax()} is the first): fill them, or drop those rows from embeddings and labels."
        )


def _matrix(where: str, chunks: list[pyarrow.Array]) -> Array:
    lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in chunks])
    if lengths.min() != lengths.max():
        raise ValueError(
            f"`files` must hold lists of one length as embeddings; those of {where} have {lengths.min()} to "
            f"{lengths.max()} numbers."
        )
    parts = [_plain(chunk.flatten()) for chunk in chunks]
    if any(part.null_count for part in parts):
        missing = np.concatenate([part.is_null().to_numpy(zero_copy_only=False) for part in parts])
        raise ValueError(
            f"`files` must have a number in every place; the lists of {where} lack {missing.sum()} (null; row "
            f"{missing.argmax() // lengths[0]} is the first): fill them, or drop those rows."
        )
    return np.concatenate([_values(where, part) for part in parts]).reshape(len(lengths), lengths[0])


def _values(where: str, chunk: pyarrow.Array) -> Array:
    array: Array = chunk.to_numpy(zero_copy_only=False)
    if array.dtype.kind == "O" and len(array) and isinstance(array[0], str | bytes):
        array = array.astype(str if isinstance(array[0], str) else bytes)
    if array.dtype.kind not in "fiubUS":
        raise TypeError(
            f"`files` must hold numbers, strings as labels, or lists of numbers as embeddings; {where} holds values of "
            f"type {chunk.type}."
        )
    return array
