# SPDX-License-Identifier: Apache-2.0
"""Keep codes in DuckDB: ``TINYINT[n]`` and ``BIT`` columns, written in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lightning_monocon.stores.arrow import codes_as_arrow, codes_of_arrow
from lightning_monocon.stores.columns import Column, Kind
from lightning_monocon.stores.duckdb_search import write_search
from lightning_monocon.stores.store import Rows, Stamp, as_ids

_DISTANCES = {
    "cosine": "array_cosine_distance(code::FLOAT[{width}], ?::FLOAT[{width}])",
    "dot": "array_negative_inner_product(code::FLOAT[{width}], ?::FLOAT[{width}])",
    "hamming": "bit_count(xor(code, ?::BLOB::BIT))",
}


class DuckdbStore:
    """Hold codes in a table of a DuckDB file, beside a macro that searches it by plain embeddings.

    DuckDB has no column of float16. Every search reads all codes: the index of its extension ``vss`` is for float32
    columns only. Equal distances are in the order of ids. A row of zeros has a cosine distance of 2 (NaN in later
    versions) and so comes last, where the codec scores it 0.

    Args:
        path: The file; `create` makes it if it is missing.
        name: The table.

    Raises:
        ConnectionError: If another process has the file open.
        FileNotFoundError: If its folder is missing.
        ValueError: If the file is not a database.
    """

    title: ClassVar[str] = "DuckDB"
    kinds: ClassVar[Sequence[Kind]] = ("int8", "bit")
    named: ClassVar[bool] = True
    ranks_exactly = True

    def __init__(self, path: str | Path, name: str) -> None:
        self._path, self._name = Path(path), name
        if not self._path.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"`--into` must lie in a folder that exists; {self._path.parent} does not: make it."
            )
        self._connection = _connected(self._path if self._path.exists() else None)

    def stamp(self) -> Stamp | None:
        """Return the stamp, which is the comment of the table; None if the name is free."""
        known = (
            "SELECT comment FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = $1 UNION ALL "
            "SELECT comment FROM duckdb_views() WHERE schema_name = 'main' AND view_name = $1"
        )
        row = self._run(known, [self._name]).fetchone()
        if row is None:
            return None
        try:
            values = json.loads(row[0] or "null")
        except ValueError:
            values = None
        return Stamp.from_plain(values, f"the table {self._name} in {self._path}")

    def create(self, column: Column, stamp: Stamp, blocks: Iterator[Rows], index: bool) -> None:
        """Write all rows in one transaction, with the stamp and the search macro; there is no index to build."""
        ids = "VARCHAR" if stamp.ids == "text" else "BIGINT"
        code = "BIT" if column.kind == "bit" else f"TINYINT[{column.width}]"
        with self._in_file(), self._writing():
            self._run(f"CREATE TABLE {self._table} (id {ids} PRIMARY KEY, code {code} NOT NULL)")
            self._insert(column, blocks)
            values = json.dumps(stamp.as_plain()).replace("'", "''")
            self._run(f"COMMENT ON TABLE {self._table} IS '{values}'")
            write_search(self._connection, self._name, column)

    def append(self, column: Column, blocks: Iterator[Rows]) -> None:
        """Write further rows in one transaction."""
        with self._writing():
            self._insert(column, blocks)

    def delete(self, ids: NDArray[Any]) -> int:
        """Delete rows by their ids."""
        query = f"DELETE FROM {self._table} WHERE id IN (SELECT unnest(?))"
        return self._number(query, [ids.tolist()])

    def search(self, column: Column, asked: np.ndarray, count: int, exact: bool) -> list[NDArray[Any]]:
        """Return the ids of the nearest rows; every search is exact."""
        distance = _DISTANCES[column.metric].format(width=column.width)
        query = f"SELECT id FROM {self._table} ORDER BY {distance}, id LIMIT {count}"
        values = (one.tobytes() if column.kind == "bit" else one.tolist() for one in asked)
        found = [[row[0] for row in self._run(query, [value]).fetchall()] for value in values]
        text = self._text_ids
        return [as_ids(ids, text) for ids in found]

    def fetch(self, column: Column, ids: NDArray[Any]) -> np.ndarray:
        """Return what is stored for ids, in their order."""
        code = "code::BLOB" if column.kind == "bit" else "code"
        query = (
            f"SELECT {code} AS code FROM unnest(?) WITH ORDINALITY AS wanted(id, place) JOIN {self._table} USING (id) "
            "ORDER BY place"
        )
        return codes_of_arrow(self._run(query, [ids.tolist()]).to_arrow_table()["code"])

    def count(self) -> int:
        """Return the number of rows."""
        return self._number(f"SELECT count(*) FROM {self._table}")

    def bytes(self) -> int:
        """Return the bytes of the blocks in use of the whole file, other tables among them; a block has 256 KiB."""
        self._run("CHECKPOINT")
        return self._number("SELECT block_size * used_blocks FROM pragma_database_size()")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def _table(self) -> str:
        return f'"{self._name}"'

    @property
    def _text_ids(self) -> bool:
        stamp = self.stamp()
        return stamp is not None and stamp.ids == "text"

    def _run(self, query: str, values: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(query, list(values))

    def _number(self, query: str, values: Sequence[Any] = ()) -> int:
        row = self._run(query, values).fetchone()
        assert row is not None  # a count has a row
        return int(row[0])

    def _insert(self, column: Column, blocks: Iterator[Rows]) -> None:
        code = "code::BIT" if column.kind == "bit" else "code"
        for ids, stored in blocks:
            self._connection.register("_block", pa.table({"id": pa.array(ids), "code": codes_as_arrow(column, stored)}))
            try:
                self._run(f"INSERT INTO {self._table} SELECT id, {code} FROM _block")
            finally:
                self._connection.unregister("_block")

    @contextmanager
    def _in_file(self) -> Iterator[None]:
        """Open the file, which may be new; if a new one is not filled, leave none behind."""
        new = not self._path.exists()
        self._connection.close()
        self._connection = _connected(self._path)
        try:
            yield
        except BaseException:
            if new:
                self._connection.close()
                for path in (self._path, self._path.with_name(f"{self._path.name}.wal")):
                    path.unlink(missing_ok=True)
                self._connection = _connected(None)
            raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make what is inside one transaction, and say a refusal of DuckDB in one sentence."""
        self._run("BEGIN")
        try:
            yield
            self._run("COMMIT")
        except BaseException as error:
            self._undo()
            if isinstance(error, duckdb.ConstraintException):
                raise ValueError(
                    f"`OUT` must hold ids that the store has not; {self._path} has one of them already. Delete those "
                    "rows first."
                ) from None
            if isinstance(error, duckdb.Error):
                raise ValueError(
                    f"`--into` must accept the rows; DuckDB says of {self._path}: {_line(error)}"
                ) from None
            raise

    def _undo(self) -> None:
        try:
            self._run("ROLLBACK")
        except duckdb.TransactionException:
            pass  # a failed COMMIT has undone it


def _connected(path: Path | None) -> duckdb.DuckDBPyConnection:
    """Return a connection to a file or, without one, to nothing."""
    try:
        return duckdb.connect(path or ":memory:")
    except duckdb.Error as error:
        if "lock" in str(error):
            raise ConnectionError(
                f"`--into` must be a file that no other process has open; {path} is in use: close it there."
            ) from None
        raise ValueError(f"`--into` must be a DuckDB file; {path} is not: {_line(error)}") from None


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
