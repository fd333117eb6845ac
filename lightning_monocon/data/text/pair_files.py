# SPDX-License-Identifier: Apache-2.0
"""Read pairs of sentences from csv, tsv, jsonl and parquet files, gzipped or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.data.text.pair_formats import read_columns
from lightning_monocon.encoders.hub import optional_package

if TYPE_CHECKING:
    from pyarrow import Table


class SentencePair(NamedTuple):
    """Hold two columns of sentences, row by row."""

    first: list[str]
    second: list[str]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.first)


class ScoredPair(NamedTuple):
    """Hold pairs of sentences and their human scores of similarity."""

    pairs: SentencePair
    scores: NDArray[np.float64]


def read_pairs(
    path: str | Path, columns: Sequence[str], filter_column: str | None = None, filter_value: str | None = None
) -> SentencePair:
    """Return the pairs of a file.

    The suffix decides the format: csv (quoted where needed), tsv and txt (tabs, no quoting), jsonl or ndjson, parquet;
    a further ``.gz`` is unpacked. Text is UTF-8, with or without a byte-order mark. Rows are counted from 0,
    without the header.

    Args:
        path: The file.
        columns: Names of the two columns of sentences.
        filter_column: Column whose value must be ``filter_value``; other rows are skipped.
        filter_value: That value, as text.

    Raises:
        ValueError: If the file is not such a table, lacks a column or has it twice, has no row to keep, or a cell is
            not text.
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If pyarrow is not installed.
    """
    if len(columns) != 2:
        raise ValueError(f"`columns` must name two columns of sentences, got {list(columns)}.")
    table = read_columns(Path(path), [*columns, *([filter_column] if filter_column else [])])
    rows = np.arange(table.num_rows)
    if filter_column is not None:
        kept = _kept(table, filter_column, str(filter_value), path)
        table, rows = table.filter(kept), np.flatnonzero(kept)
    first, second = (texts(table, column, path, rows) for column in columns)
    return SentencePair(first, second)


def read_scored(path: str | Path, columns: Sequence[str]) -> ScoredPair:
    """Return the pairs and scores of a file such as STS-B's; formats and errors are those of `read_pairs`.

    Args:
        path: The file.
        columns: Names of the two columns of sentences and of the column of scores, of any scale.
    """
    if len(columns) != 3:
        raise ValueError(f"`columns` must name two columns of sentences and one of scores, got {list(columns)}.")
    table = read_columns(Path(path), columns)
    *names, score = columns
    first, second = (texts(table, column, path) for column in names)
    return ScoredPair(SentencePair(first, second), finite_numbers(table, score, path))


def finite_numbers(table: Table, column: str, path: str | Path) -> NDArray[np.float64]:
    """Return a column of numbers ``(N,)``, which may be written as text.

    Raises:
        ValueError: If a cell is not a finite number.
    """
    pyarrow = optional_package("pyarrow", "text")
    try:
        numbers: NDArray[np.float64] = table[column].cast(pyarrow.float64()).to_numpy().astype(np.float64)
    except pyarrow.ArrowException as error:
        raise ValueError(f"`columns` must name a column of numbers; {column!r} of {path} is not: {error}.") from error
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise ValueError(f"`columns` must name a column of finite numbers; {column!r} of {path} has none in row {row}.")
    return numbers


def _kept(table: Table, column: str, value: str, path: str | Path) -> NDArray[np.bool_]:
    """Return for each row whether its value in a column, as text, is the wanted one."""
    pyarrow, compute = optional_package("pyarrow", "text"), optional_package("pyarrow.compute", "text")
    try:
        values = table[column].cast(pyarrow.large_string())
    except pyarrow.ArrowException as error:
        raise ValueError(
            f"`filter_column` must name a column of single values; {column!r} of {str(path)!r} holds "
            f"{table[column].type}."
        ) from error
    kept: NDArray[np.bool_] = compute.equal(values, value).fill_null(False).to_numpy()
    if not kept.any():
        some = ", ".join(repr(found) for found in values.unique().to_pylist()[:5])
        raise ValueError(f"`filter_value` must occur in {column!r} of {str(path)!r}, which has {some}; got {value!r}.")
    return kept


def texts(
    table: Table, column: str, path: str | Path, rows: NDArray[np.int64] | None = None, *, may_lack: bool = False
) -> list[str]:
    """Return a column of text.

    Args:
        table: As `read_columns` returns it.
        column: Name of the column.
        path: The file that it was read from, for messages.
        rows: Numbers of its rows in the file, for messages; by default 0, 1, 2, ...
        may_lack: Whether cells may be empty or missing; they are ``""`` then.

    Raises:
        ValueError: If the column is not text, or a cell is empty and none may be.
    """
    rows = np.arange(table.num_rows) if rows is None else rows
    types = optional_package("pyarrow.types", "text")
    kind = table.schema.field(column).type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
        raise ValueError(f"`columns` must name columns of text; {column!r} of {str(path)!r} holds {kind}.")
    cells: list[str | None] = table[column].to_pylist()
    if may_lack:
        return [text or "" for text in cells]
    empty = [row for row, text in zip(rows, cells, strict=True) if text is None or not text.strip()]
    if empty:
        raise ValueError(
            f"`columns` must name columns of text; {column!r} of {str(path)!r} is empty in {len(empty)} of "
            f"{len(cells)} rows, the first of them row {empty[0]}. Remove them."
        )
    return [text for text in cells if text is not None]
