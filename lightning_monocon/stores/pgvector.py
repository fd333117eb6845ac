# SPDX-License-Identifier: Apache-2.0
"""Keep codes in PostgreSQL with pgvector: ``halfvec`` and ``bit`` columns, written in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from lightning_monocon.stores.address import shown, without_password
from lightning_monocon.stores.columns import Column, Kind
from lightning_monocon.stores.pgvector_copy import HEADER, TRAILER, packed
from lightning_monocon.stores.pgvector_search import write_search
from lightning_monocon.stores.store import Rows, Stamp, as_ids

_MOST = {"half": 4_000, "bit": 64_000}
"""Numbers that pgvector's HNSW indexes at most."""

_OPERATORS: dict[str, LiteralString] = {"cosine": "<=>", "dot": "<#>", "hamming": "<~>"}
_CLASSES: dict[str, LiteralString] = {
    "cosine": "halfvec_cosine_ops",
    "dot": "halfvec_ip_ops",
    "hamming": "bit_hamming_ops",
}
_EF = 1_000  # the largest hnsw.ef_search

# what pgvector 0.8 keeps of a row while it builds a graph of 16 links: 144 bytes, 32 candidates of 16, the upper layers
_NODE = 720
_SPARE = 8 << 20
_MOST_MEMORY = 2 << 30


class PgvectorStore:
    """Hold codes in a table of PostgreSQL, beside a function that searches it by plain embeddings.

    Args:
        address: ``postgresql://user:password@host/database``.
        name: The table.

    Raises:
        ConnectionError: If the server does not answer or refuses.
    """

    title: ClassVar[str] = "pgvector"
    kinds: ClassVar[Sequence[Kind]] = ("half", "bit")
    named: ClassVar[bool] = True
    ranks_exactly = True

    def __init__(self, address: str, name: str) -> None:
        self._address, self._name = address, name
        self._table = sql.Identifier(name)
        try:
            self._connection = psycopg.connect(address, autocommit=True)
        except psycopg.Error as error:
            what = without_password(str(error).strip().splitlines()[-1], address)
            raise ConnectionError(f"`--into` must be a server that answers; {shown(address)} says: {what}") from None

    def stamp(self) -> Stamp | None:
        """Return the stamp, which is the comment of the table; None if there is no table."""
        row = self._connection.execute("SELECT obj_description(to_regclass(%s))", [self._quoted]).fetchone()
        if not self._exists():
            return None
        place = f"the table {self._name} in {shown(self._address)}"
        try:
            values = json.loads(row[0]) if row and row[0] else None
        except ValueError:
            values = None
        return Stamp.from_plain(values, place)

    def create(self, column: Column, stamp: Stamp, blocks: Iterator[Rows], index: bool) -> None:
        """Write all rows in one transaction, with the index, the stamp and the search function."""
        most = _MOST[column.kind]
        if index and column.width > most:
            raise ValueError(
                f"`OUT` must hold codes of at most {most} numbers for pgvector's HNSW; got {column.width}: load "
                "without an index."
            )
        with self._writing():
            self._extension()
            self._run(
                "CREATE TABLE {table} (id {ids} PRIMARY KEY, code {type} NOT NULL)",
                ids=sql.SQL("text" if stamp.ids == "text" else "bigint"),
                type=_type(column),
            )
            rows = self._copy(column, blocks)
            if index:
                self._build(column, rows)
            self._run("COMMENT ON TABLE {table} IS {stamp}", stamp=sql.Literal(json.dumps(stamp.as_plain())))
            write_search(self._connection, self._name, column, stamp)

    def append(self, column: Column, blocks: Iterator[Rows]) -> None:
        """Write further rows in one transaction."""
        with self._writing():
            self._copy(column, blocks)

    def delete(self, ids: NDArray[Any]) -> int:
        """Delete rows by their ids."""
        return self._run("DELETE FROM {table} WHERE id = ANY(%s)", [ids.tolist()]).rowcount

    def search(self, column: Column, asked: np.ndarray, count: int, exact: bool) -> list[NDArray[Any]]:
        """Return the ids of the nearest rows; equal distances in an exact search are in the order of ids.

        Through the index pgvector finds at most 1 000 rows.
        """
        # an index gives rows in its own order of equal distances; a second key would keep it from being used
        ties = sql.SQL(", id" if exact else "")
        found = []
        with self._connection.transaction():
            self._connection.execute("SET LOCAL enable_indexscan = off" if exact else "SET LOCAL enable_indexscan = on")
            self._run("SET LOCAL hnsw.ef_search = {ef}", None, ef=sql.Literal(min(max(count, 40), _EF)))
            for one in asked:
                rows = self._run(
                    "SELECT id FROM {table} ORDER BY code {operator} %s::{type}{ties} LIMIT %s",
                    [_text(column, one), count],
                    operator=sql.SQL(_OPERATORS[column.metric]),
                    type=_type(column),
                    ties=ties,
                ).fetchall()
                found.append(as_ids([row[0] for row in rows], self._text_ids))
        return found

    def fetch(self, column: Column, ids: NDArray[Any]) -> np.ndarray:
        """Return what is stored for ids, in their order."""
        rows = dict(self._run("SELECT id, code::text FROM {table} WHERE id = ANY(%s)", [ids.tolist()]).fetchall())
        return np.stack([_parsed(column, rows[one]) for one in ids.tolist()])

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._value("SELECT count(*) FROM {table}"))

    def bytes(self) -> int:
        """Return the bytes of the table with its indexes, as PostgreSQL counts them."""
        return int(self._value("SELECT pg_total_relation_size({name}::regclass)", name=sql.Literal(self._quoted)))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @property
    def _quoted(self) -> str:
        return self._table.as_string(self._connection)

    @property
    def _text_ids(self) -> bool:
        kind = self._value(
            "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = {name}::regclass AND attname = 'id'",
            name=sql.Literal(self._quoted),
        )
        return str(kind) == "text"

    def _exists(self) -> bool:
        return self._connection.execute("SELECT to_regclass(%s)", [self._quoted]).fetchone() != (None,)

    def _value(self, query: LiteralString, **parts: sql.Composable) -> str | int:
        row = self._run(query, None, **parts).fetchone()
        assert row is not None
        value: str | int = row[0]
        return value

    def _run(
        self, query: LiteralString, values: Sequence[Any] | None = None, **parts: sql.Composable
    ) -> psycopg.Cursor[Any]:
        return self._connection.execute(sql.SQL(query).format(table=self._table, **parts), values)

    def _extension(self) -> None:
        try:
            self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            raise ConnectionError(
                f"`--into` must be a database with the extension vector (pgvector 0.7 or newer); "
                f"{shown(self._address)} says: {str(error).splitlines()[0]}: ask its owner for CREATE EXTENSION vector."
            ) from None
        version = str(self._value("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
        if tuple(int(part) for part in version.split(".")[:2]) < (0, 7):
            raise ValueError(f"`--into` needs pgvector 0.7 or newer for halfvec and bit; got {version}: upgrade it.")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make what is inside one transaction, and say a refusal of the server in one sentence."""
        try:
            with self._connection.transaction():
                yield
        except psycopg.errors.UniqueViolation as error:
            raise ValueError(
                f"`OUT` must hold ids that the store has not; {error.diag.message_detail} Delete those rows first."
            ) from None
        except psycopg.Error as error:
            raise ValueError(f"`--into` must accept the rows; PostgreSQL says: {str(error).splitlines()[0]}") from None

    def _build(self, column: Column, rows: int) -> None:
        """Build the HNSW index with memory for the whole graph: one that does not fit takes several times as long."""
        needed = min(rows * (_NODE + column.codec.bytes_per_vector) + _SPARE, _MOST_MEMORY) >> 10
        held = int(self._value("SELECT pg_size_bytes(current_setting('maintenance_work_mem')) >> 10"))
        self._run("SET LOCAL maintenance_work_mem = {kilobytes}", kilobytes=sql.Literal(max(held, needed)))
        try:
            with self._connection.transaction():
                self._create_index(column)
        except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory):
            # workers share the memory in /dev/shm, of which a container has 64 MB
            self._run("SET LOCAL max_parallel_maintenance_workers = 0")
            self._create_index(column)

    def _create_index(self, column: Column) -> None:
        self._run("CREATE INDEX ON {table} USING hnsw (code {ops})", ops=sql.SQL(_CLASSES[column.metric]))

    def _copy(self, column: Column, blocks: Iterator[Rows]) -> int:
        """Write rows, and return how many."""
        with self._connection.cursor() as cursor:
            copied = sql.SQL("COPY {} (id, code) FROM STDIN (FORMAT BINARY)").format(self._table)
            with cursor.copy(copied) as copy:
                copy.write(HEADER)
                for block in blocks:
                    copy.write(packed(column.kind, block))
                copy.write(TRAILER)
            return cursor.rowcount


def _type(column: Column) -> sql.Composed:
    return sql.SQL("bit({})" if column.kind == "bit" else "halfvec({})").format(sql.Literal(column.width))


def _text(column: Column, asked: np.ndarray) -> str:
    if column.kind == "bit":
        return "".join(map(str, np.unpackbits(asked)))
    return "[" + ",".join(repr(number) for number in asked.tolist()) + "]"


def _parsed(column: Column, text: str) -> np.ndarray:
    if column.kind == "bit":
        return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0"))
    return np.array(json.loads(text), "<f2")
