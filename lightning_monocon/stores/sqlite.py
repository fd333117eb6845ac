# SPDX-License-Identifier: Apache-2.0
"""Keep codes in SQLite with sqlite-vec: ``int8`` and ``bit`` columns, written in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.stores.columns import Column, Kind
from lightning_monocon.stores.store import Rows, Stamp, as_ids

_MOST = 4_096
"""Rows that sqlite-vec finds at most."""


class SqliteStore:
    """Hold codes in a virtual table of a SQLite file.

    sqlite-vec takes queries of the column's own type, so a query of an ``int8`` column is rounded too, and the rows
    that are found must be scored again.

    Args:
        path: The file; `create` makes it if it is missing.
        name: The table.

    Raises:
        ImportError: If sqlite-vec is missing, or no SQLite here loads extensions.
        ValueError: If the file is not a database.
    """

    title: ClassVar[str] = "sqlite-vec"
    kinds: ClassVar[Sequence[Kind]] = ("int8", "bit")
    named: ClassVar[bool] = True
    ranks_exactly = False

    def __init__(self, path: str | Path, name: str) -> None:
        self._path, self._name = Path(path), name
        if not self._path.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"`--into` must lie in a folder that exists; {self._path.parent} does not: make it."
            )
        self._sqlite, self._connection = _connected(self._path if self._path.exists() else None)

    def stamp(self) -> Stamp | None:
        """Return the stamp, which lies in the table ``NAME_codec``; None if the name is free."""
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN (?, ?)"
        names = {row[0] for row in self._run(tables, [self._name, f"{self._name}_codec"])}
        if not names:
            return None
        row = self._run(f"SELECT stamp FROM {self._codec}").fetchone() if len(names) == 2 else None
        return Stamp.from_plain(json.loads(row[0]) if row else None, f"the table {self._name} in {self._path}")

    def create(self, column: Column, stamp: Stamp, blocks: Iterator[Rows], index: bool) -> None:
        """Write all rows in one transaction, with the stamp. sqlite-vec has no index: every search reads all codes."""
        kind = "text" if stamp.ids == "text" else "integer"
        metric = " distance_metric=cosine" if column.kind == "int8" else ""
        if column.metric == "dot":
            raise ValueError("`OUT` must hold a code of cosines for sqlite-vec, which has no inner product; take bits.")
        with self._in_file(), self._writing():
            self._run(
                f"CREATE VIRTUAL TABLE {self._table} USING vec0"
                f"(id {kind} PRIMARY KEY, code {column.kind}[{column.width}]{metric})"
            )
            self._run(f"CREATE TABLE {self._codec} (stamp TEXT NOT NULL)")
            self._run(f"INSERT INTO {self._codec} VALUES (?)", [json.dumps(stamp.as_plain())])
            self._insert(column, blocks)

    def append(self, column: Column, blocks: Iterator[Rows]) -> None:
        """Write further rows in one transaction."""
        with self._writing():
            self._insert(column, blocks)

    def delete(self, ids: NDArray[Any]) -> int:
        """Delete rows by their ids."""
        before = self.count()
        with self._writing():
            self._connection.executemany(f"DELETE FROM {self._table} WHERE id = ?", [[one] for one in ids.tolist()])
        return before - self.count()

    def search(self, column: Column, asked: np.ndarray, count: int, exact: bool) -> list[NDArray[Any]]:
        """Return the ids of the nearest rows; every search is exact.

        Raises:
            ValueError: If more than 4 096 rows are asked for.
        """
        if count > _MOST:
            raise ValueError(f"`shortlist` must be at most {_MOST} for sqlite-vec; got {count}.")
        query = f"SELECT id FROM {self._table} WHERE code MATCH vec_{column.kind}(?) AND k = ? ORDER BY distance"
        text = self._text_ids
        found = (self._run(query, [one.tobytes(), count]).fetchall() for one in asked)
        return [as_ids([row[0] for row in rows], text) for rows in found]

    def fetch(self, column: Column, ids: NDArray[Any]) -> np.ndarray:
        """Return what is stored for ids, in their order."""
        query = f"SELECT code FROM {self._table} WHERE id = ?"
        kind = np.uint8 if column.kind == "bit" else np.int8
        return np.stack([np.frombuffer(self._run(query, [one]).fetchone()[0], kind) for one in ids.tolist()])

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._run(f"SELECT count(*) FROM {self._table}").fetchone()[0])

    def bytes(self) -> int:
        """Return the bytes of the whole file, other tables among them; not every SQLite counts tables (dbstat)."""
        size, pages = (int(self._run(f"PRAGMA {name}").fetchone()[0]) for name in ("page_size", "page_count"))
        return size * pages

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def _table(self) -> str:
        return _quoted(self._name)

    @property
    def _codec(self) -> str:
        return _quoted(f"{self._name}_codec")

    @property
    def _text_ids(self) -> bool:
        stamp = self.stamp()
        return stamp is not None and stamp.ids == "text"

    def _run(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        found: sqlite3.Cursor = self._connection.execute(query, values)
        return found

    def _insert(self, column: Column, blocks: Iterator[Rows]) -> None:
        query = f"INSERT INTO {self._table} (id, code) VALUES (?, vec_{column.kind}(?))"
        for ids, stored in blocks:
            rows = zip(ids.tolist(), (row.tobytes() for row in stored), strict=True)
            self._connection.executemany(query, rows)

    @contextmanager
    def _in_file(self) -> Iterator[None]:
        """Open the file, which may be new; if a new one is not filled, leave none behind."""
        new = not self._path.exists()
        self._connection.close()
        self._sqlite, self._connection = _connected(self._path)
        try:
            yield
        except BaseException:
            if new:
                self._connection.close()
                self._path.unlink(missing_ok=True)
                self._sqlite, self._connection = _connected(None)
            raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make what is inside one transaction, and say a refusal of SQLite in one sentence."""
        try:
            self._run("BEGIN IMMEDIATE")
            yield
            self._run("COMMIT")
        except self._sqlite.Error as error:
            self._undo()
            if "UNIQUE" in str(error):
                raise ValueError(
                    f"`OUT` must hold ids that the store has not; {self._path} has one of them already. Delete those "
                    "rows first."
                ) from None
            raise ValueError(f"`--into` must accept the rows; SQLite says of {self._path}: {error}") from None
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._run("ROLLBACK")


def _connected(path: Path | None) -> tuple[ModuleType, sqlite3.Connection]:
    """Return a module of SQLite and a connection that has sqlite-vec, to a file or, without one, to nothing."""
    try:
        import sqlite_vec
    except ImportError:
        raise ImportError("`--into sqlite:///...` needs sqlite-vec: pip install 'lightning-monocon[sqlite]'.") from None
    module = _module()
    try:
        connection = module.connect(path or ":memory:", isolation_level=None)
        connection.execute("SELECT count(*) FROM sqlite_master")
    except module.Error as error:
        raise ValueError(f"`--into` must be a SQLite file; {path} is not: {error}.") from None
    connection.enable_load_extension(True)
    sqlite_vec.load(connection)
    connection.enable_load_extension(False)
    return module, connection


def _module() -> ModuleType:
    """Return a module of SQLite whose connections load extensions: Python's own, or pysqlite3."""
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        return sqlite3
    try:
        import pysqlite3
    except ImportError:
        raise ImportError(
            "`--into sqlite:///...` needs a SQLite that loads extensions, which this Python was built without: "
            "pip install pysqlite3-binary."
        ) from None
    module: ModuleType = pysqlite3
    return module


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
