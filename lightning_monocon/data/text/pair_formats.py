# SPDX-License-Identifier: Apache-2.0
"""Read named columns of csv, tsv, jsonl and parquet files into one kind of table."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_monocon.encoders.hub import optional_package

if TYPE_CHECKING:
    from pyarrow import Array, ChunkedArray, Scalar, Table

_KINDS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class _Found(NamedTuple):
    """Hold the names of all columns of a file, with repetitions, and a table with at least the wanted ones."""

    names: list[str]
    table: Any  # pyarrow ships no types


def read_columns(path: Path, columns: Sequence[str | tuple[str, ...]], optional: Sequence[str] = ()) -> Table:
    """Return the columns of a file as a pyarrow table, each once; text in any layout is ``string`` or ``large_string``.

    Args:
        path: The file.
        columns: Their names; for a column with several usual names a tuple of these, of which the first that the file
            has is read.
        optional: Names of further columns, each read if the file has it.

    Raises:
        ValueError: If the file is not such a table, lacks a column or has it twice, has no row, or text is not UTF-8.
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If pyarrow is not installed.
    """
    ending = table_ending(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a file of pairs; there is none at {str(path)!r}.")

    pyarrow = optional_package("pyarrow", "text")
    groups = [(names,) if isinstance(names, str) else names for names in columns]
    try:
        found = _reader(ending)(path, [name for names in [*groups, optional] for name in names])
    except (pyarrow.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"`path` must be a whole {ending} table; {str(path)!r} is not: {error}.") from error

    names = _chosen_names(found.names, groups, optional, path)
    if found.table.num_rows == 0:
        raise ValueError(f"`path` must hold pairs; {str(path)!r} has a header and no row.")

    table = pyarrow.table({name: _plain_text(found.table[name], name, path) for name in names})
    if ending in (".csv", ".tsv", ".txt"):
        _refuse_repeated_header(table, path)
    return table


def table_ending(path: Path) -> str:
    """Return the ending that decides the format of a table; a further ``.gz`` is left out.

    Raises:
        ValueError: If it is not one of the known formats.
    """
    endings = [ending for ending in path.suffixes if ending != ".gz"]
    if not endings or endings[-1] not in _KINDS:
        raise ValueError(f"`path` must end in {', '.join(_KINDS)}, or one of these and .gz; got {str(path)!r}.")
    return endings[-1]


def _chosen_names(
    there: Sequence[str], groups: Sequence[tuple[str, ...]], optional: Sequence[str], path: Path
) -> list[str]:
    """Return the first name of each group that the file has, then the optional names that it has."""
    if missing := [" or ".join(names) for names in groups if set(names).isdisjoint(there)]:
        shown = ", ".join(there).encode("utf-8", "backslashreplace").decode()
        raise ValueError(f"`columns` must name columns of {str(path)!r}, which has {shown}; got {', '.join(missing)}.")
    names = [next(name for name in names if name in there) for names in groups]
    names += [name for name in optional if name in there]
    if twice := [name for name in names if there.count(name) > 1]:
        raise ValueError(
            f"`columns` must name columns that are there once; {str(path)!r} has {there.count(twice[0])} called "
            f"{twice[0]!r}. Rename or remove all but one."
        )
    return list(dict.fromkeys(names))


def _reader(ending: str) -> Callable[[Path, Sequence[str]], _Found]:
    if ending == ".parquet":
        return _read_parquet
    if ending in (".jsonl", ".ndjson"):
        return _read_json_lines
    return partial(_read_text, quoted=ending == ".csv")


def _read_parquet(path: Path, columns: Sequence[str]) -> _Found:
    # not `read_table`, which adds columns for folders called ``name=value`` and refuses a doubled name
    with optional_package("pyarrow.parquet", "text").ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        return _Found(names, file.read(columns=[name for name in dict.fromkeys(columns) if names.count(name) == 1]))


def _read_text(path: Path, columns: Sequence[str], *, quoted: bool) -> _Found:
    pyarrow, csv = optional_package("pyarrow", "text"), optional_package("pyarrow.csv", "text")
    with pyarrow.input_stream(path, compression="detect") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError(f"`path` must be a file in UTF-8; {str(path)!r} is in UTF-16. Save it as UTF-8.")
    parse = csv.ParseOptions(
        delimiter="," if quoted else "\t", quote_char='"' if quoted else False, newlines_in_values=quoted
    )
    # always as text: "None" and "2020" are sentences too; `_plain_text` finds the row that is not UTF-8
    types = {name: pyarrow.string() for name in columns}
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=False, check_utf8=False)
    table = csv.read_csv(pyarrow.input_stream(path, compression="detect"), parse_options=parse, convert_options=convert)
    return _Found(list(table.column_names), table)


def _read_json_lines(path: Path, columns: Sequence[str]) -> _Found:
    """Return the wanted columns that exist; a row without a key has no value in that column.

    pyarrow's reader is not used, since it requires one type in every column, even in those that are not wanted.
    """
    rows = list(_json_rows(path, columns))
    names = list(dict.fromkeys(name for row in rows for name in row)) if rows else list(columns)
    wanted = [name for name in names if name in columns]
    arrays = {name: _json_array([row.get(name) for row in rows], name, path) for name in wanted}
    return _Found(names, optional_package("pyarrow", "text").table(arrays or {"": [None] * len(rows)}))


def _json_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for row, line in enumerate(line for line in file if line.strip()):
            try:
                value = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_Object)
            except (ValueError, RecursionError) as error:  # of the encoding, the syntax, a number of 5000 digits
                raise ValueError(
                    f"`path` must hold one JSON object per line, in UTF-8; row {row} of {str(path)!r} is not one: "
                    f"{error}."
                ) from error
            if not isinstance(value, _Object):
                raise ValueError(
                    f"`path` must hold one JSON object per line; row {row} of {str(path)!r} is {_kind(value)}."
                )
            if twice := value.repeated & set(columns):
                raise ValueError(
                    f"`columns` must name keys that are there once; row {row} of {str(path)!r} has {min(twice)!r} "
                    "more than once. Rename or remove all but one."
                )
            yield value


class _Object(dict[str, Any]):
    """Hold a JSON object and the keys that it had more than once; the last value counts."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs] if len(self) < len(pairs) else []
        self.repeated = {name for name in names if names.count(name) > 1}


def _json_array(values: list[Any], name: str, path: Path) -> Array:
    pyarrow = optional_package("pyarrow", "text")
    try:
        return pyarrow.array(values)
    except UnicodeEncodeError as error:
        row = next(row for row, value in enumerate(values) if isinstance(value, str) and _LONE_SURROGATE.search(value))
        raise ValueError(
            f"`columns` must name columns of text; {name!r} of {str(path)!r} has half of a surrogate pair in row "
            f"{row}, which is not a character. Remove or replace it."
        ) from error
    except (pyarrow.ArrowException, OverflowError) as error:
        raise ValueError(
            f"`columns` must name columns of one kind of value; {name!r} of {str(path)!r} {_mixture(values, error)}."
        ) from error


def _mixture(values: Sequence[object], error: Exception) -> str:
    """Say in which rows two kinds of values are; of a number that is too large, what pyarrow says."""
    first = {_kind(value): row for row, value in reversed([*enumerate(values)]) if value is not None}
    if len(first) < 2:
        return f"has a value that does not fit: {error}"
    (one, row), (other, later) = sorted(first.items(), key=lambda item: item[1])[:2]
    return f"has {one} in row {row} and {other} in row {later}; write both in one way, ids as texts"


def _plain_text(column: ChunkedArray, name: str, path: Path) -> ChunkedArray:
    """Return a column of dictionary-encoded or viewed text as plain text, and any other column as it is."""
    pyarrow, types = optional_package("pyarrow", "text"), optional_package("pyarrow.types", "text")
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if str(kind) not in ("string", "large_string", "string_view"):  # pyarrow 15 has no `is_string_view`
        return column

    try:
        column.validate(full=True)
        if types.is_string(column.type) or types.is_large_string(column.type):
            return column
        return pyarrow.chunked_array([pyarrow.array(column.to_pylist(), pyarrow.large_string())])
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        row = next((row for row, value in enumerate(column) if not _is_text(value)), None)
        if row is None:
            raise
        raise ValueError(
            f"`columns` must name columns of text in UTF-8; {name!r} of {str(path)!r} is not in row {row}. Save the "
            "file as UTF-8."
        ) from error


def _is_text(value: Scalar) -> bool:
    try:
        value.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _refuse_repeated_header(table: Table, path: Path) -> None:
    """Raise if a row holds the names of the columns, as in files that were joined with their headers."""
    compute = optional_package("pyarrow.compute", "text")
    if table.num_columns < 2:
        return
    same = compute.equal(table[0], table.column_names[0])
    for column, name in zip(table.columns[1:], table.column_names[1:], strict=True):
        same = compute.and_(same, compute.equal(column, name))
    if compute.any(same).as_py():
        raise ValueError(
            f"`path` must hold one header; row {compute.index(same, True).as_py()} of {str(path)!r} repeats it. Remove "
            "that row."
        )


def _kind(value: object) -> str:
    return {list: "an array", str: "a text", type(None): "null"}.get(type(value), "a number or a truth value")
