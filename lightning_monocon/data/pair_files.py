# SPDX-License-Identifier: Apache-2.0
"""Pairs of sentences from csv, tsv, jsonl and parquet files, gzipped or not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.encoders.hub import optional_package

_KINDS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")


class SentencePair(NamedTuple):
    """Columns of sentences, row by row."""

    first: list[str]
    second: list[str]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.first)


class ScoredPair(NamedTuple):
    """Pairs of sentences and how alike people found them."""

    pairs: SentencePair
    scores: NDArray[np.float64]


def read_pairs(
    path: str | Path, columns: Sequence[str], filter_column: str | None = None, filter_value: str | None = None
) -> SentencePair:
    """Return the pairs of a file.

    The ending says the format: csv (quoted where needed), tsv and txt (tabs, no quoting), jsonl or ndjson, parquet; a
    further ``.gz`` is unpacked on the way.

    Args:
        path: The file.
        columns: Names of the two columns of sentences.
        filter_column: Keep the rows whose value in this column is ``filter_value``; others are not looked at.
        filter_value: That value, as text.

    Raises:
        ValueError: If the file is no such table, lacks a column, has no row to keep, or a cell is no text.
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If pyarrow is not installed.
    """
    if len(columns) != 2:
        raise ValueError(f"`columns` must name two columns of sentences, got {list(columns)}.")
    table = _read(Path(path), [*columns, *([filter_column] if filter_column else [])])
    if filter_column is not None:
        table = _filtered(table, filter_column, str(filter_value), path)
    first, second = (_texts(table, column, path) for column in columns)
    return SentencePair(first, second)


def read_scored(path: str | Path, columns: Sequence[str]) -> ScoredPair:
    """Return the pairs and scores of a file such as STS-B's; formats and errors are those of `read_pairs`.

    Args:
        path: The file.
        columns: Names of the two columns of sentences and of the column of scores, of any scale.
    """
    if len(columns) != 3:
        raise ValueError(f"`columns` must name two columns of sentences and one of scores, got {list(columns)}.")
    table = _read(Path(path), columns)
    *names, score = columns
    first, second = (_texts(table, column, path) for column in names)
    pyarrow = optional_package("pyarrow", "text")
    try:
        scores = table[score].cast(pyarrow.float64()).to_numpy().astype(np.float64)
    except pyarrow.ArrowException as error:
        raise ValueError(f"`columns` must name a column of numbers; {score!r} of {path} is none: {error}.") from error
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"`columns` must name a column of finite numbers; {score!r} of {path} has none in row {row}.")
    return ScoredPair(SentencePair(first, second), scores)


def _read(path: Path, columns: Sequence[str]) -> Any:  # noqa: ANN401  # pyarrow ships no types
    endings = [ending for ending in path.suffixes if ending != ".gz"]
    if not endings or endings[-1] not in _KINDS:
        raise ValueError(f"`path` must end in {', '.join(_KINDS)}, or one of these and .gz; got {str(path)!r}.")
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a file of pairs; there is none at {str(path)!r}.")
    pyarrow = optional_package("pyarrow", "text")
    try:
        table = _reader(endings[-1], columns)(path)
    except (pyarrow.ArrowException, OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"`path` must be a whole {endings[-1]} table; {str(path)!r} is not: {error}.") from error
    if missing := [column for column in columns if column not in table.column_names]:
        raise ValueError(
            f"`columns` must name columns of {str(path)!r}, which has {', '.join(table.column_names)}; got "
            f"{', '.join(missing)}."
        )
    if table.num_rows == 0:
        raise ValueError(f"`path` must hold pairs; {str(path)!r} has a header and no row.")
    return table.select(list(dict.fromkeys(columns)))


def _reader(ending: str, columns: Sequence[str]) -> Callable[[Path], Any]:
    pyarrow = optional_package("pyarrow", "text")
    if ending == ".parquet":
        parquet = optional_package("pyarrow.parquet", "text")
        return lambda path: parquet.read_table(path)
    if ending in (".jsonl", ".ndjson"):
        return lambda path: pyarrow.table(_json_columns(path, columns))
    csv = optional_package("pyarrow.csv", "text")
    quoted = ending == ".csv"
    parse = csv.ParseOptions(
        delimiter="," if quoted else "\t", quote_char='"' if quoted else False, newlines_in_values=quoted
    )
    # as text, whatever it looks like: "None" and "2020" are sentences too
    convert = csv.ConvertOptions(column_types={name: pyarrow.string() for name in columns}, strings_can_be_null=False)
    return lambda path: csv.read_csv(
        pyarrow.input_stream(path, compression="detect"), parse_options=parse, convert_options=convert
    )


def _json_columns(path: Path, columns: Sequence[str]) -> dict[str, list[object]]:
    """Return the columns that are asked for and there.

    Not pyarrow's reader: it wants one type in every column, in those too that nobody asks for.
    """
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"`path` must hold one JSON object per line; {str(path)!r} holds others.")
    names = list(rows[0]) if rows else list(columns)
    return {name: [row.get(name) for row in rows] if name in columns else [None] * len(rows) for name in names}


def _filtered(table: Any, column: str, value: str, path: str | Path) -> Any:  # noqa: ANN401  # pyarrow ships no types
    pyarrow, compute = optional_package("pyarrow", "text"), optional_package("pyarrow.compute", "text")
    values = table[column].cast(pyarrow.string())
    kept = table.filter(compute.equal(values, value))
    if kept.num_rows == 0:
        some = ", ".join(repr(found) for found in values.unique().to_pylist()[:5])
        raise ValueError(f"`filter_value` must occur in {column!r} of {str(path)!r}, which has {some}; got {value!r}.")
    return kept


def _texts(table: Any, column: str, path: str | Path) -> list[str]:  # noqa: ANN401  # pyarrow ships no types
    types = optional_package("pyarrow.types", "text")
    kind = table.schema.field(column).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_string(kind) or types.is_large_string(kind)):
        raise ValueError(f"`columns` must name columns of text; {column!r} of {str(path)!r} holds {kind}.")
    texts: list[str | None] = table[column].to_pylist()
    empty = [row for row, text in enumerate(texts) if text is None or not text.strip()]
    if empty:
        raise ValueError(
            f"`columns` must name columns of text; {column!r} of {str(path)!r} is empty in {len(empty)} of "
            f"{len(texts)} rows, the first of them row {empty[0]}. Remove them."
        )
    return [text for text in texts if text is not None]
