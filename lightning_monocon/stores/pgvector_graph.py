# SPDX-License-Identifier: Apache-2.0
"""Search an HNSW graph of pgvector over float vectors, in a temporary table, for the scorecard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from lightning_monocon.scorecard.graph_index import BUILD, FOUND, LINKS, Search
from lightning_monocon.stores.address import shown, without_password

_WIDEST = 2_000
"""Numbers of a ``vector`` that HNSW of pgvector holds."""

_TABLE = "monocon_graph"


@dataclass(frozen=True)
class PgvectorGraph:
    """Build graphs on a server, each in a temporary table that is gone when it has been searched.

    The levels of a graph are drawn by the server, so that two graphs of the same rows differ a little.

    Args:
        address: ``postgresql://user:password@host/database``, whose database has the extension vector.
    """

    address: str = field(repr=False)

    def check(self) -> None:
        """Raise ConnectionError if the server does not answer, or has no pgvector."""
        with self._connected() as connection:
            self._version(connection)

    def __call__(self, gallery: NDArray[np.float32]) -> Iterator[tuple[str, Search]]:
        """Yield the name and the search of a graph over unit rows ``(N, D)``.

        Raises:
            ConnectionError: If the server does not answer, or has no pgvector.
            ValueError: If the rows are wider than its graphs hold.
        """
        if gallery.shape[1] > _WIDEST:
            raise ValueError(
                f"`--index` must leave pgvector out for more than {_WIDEST} numbers, which its HNSW does not hold; got "
                f"{gallery.shape[1]}. Give --index hnsw alone."
            )
        with self._connected() as connection, connection.transaction(force_rollback=True):
            name = f"pgvector {self._version(connection)}"
            _build(connection, gallery)
            yield name, _search(connection, min(FOUND, len(gallery)))

    def _connected(self) -> psycopg.Connection[Any]:
        try:
            return psycopg.connect(self.address, autocommit=True)
        except psycopg.Error as error:
            what = without_password(str(error).strip().splitlines()[-1], self.address)
            raise ConnectionError(
                f"`--index` must be a server that answers; {shown(self.address)} says: {what}"
            ) from None

    def _version(self, connection: psycopg.Connection[Any]) -> str:
        row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        if row is None:
            raise ConnectionError(
                f"`--index` must be a database with the extension vector; {shown(self.address)} has none: ask its "
                "owner for CREATE EXTENSION vector."
            )
        return str(row[0])


def _build(connection: psycopg.Connection[Any], gallery: NDArray[np.float32]) -> None:
    table, width = sql.Identifier("pg_temp", _TABLE), sql.Literal(gallery.shape[1])
    connection.execute(sql.SQL("CREATE TABLE {} (id int, code vector({}))").format(table, width))
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(table)) as copy:
        for place, row in enumerate(gallery.tolist()):
            copy.write_row((place, _text(row)))
    connection.execute("SET LOCAL max_parallel_maintenance_workers = 0")  # shared memory is small in a container
    connection.execute("SET LOCAL maintenance_work_mem = '1GB'")  # taken as the graph grows
    options = sql.SQL("m = {}, ef_construction = {}").format(sql.Literal(LINKS), sql.Literal(BUILD))
    build = sql.SQL("CREATE INDEX ON {} USING hnsw (code vector_ip_ops) WITH ({})").format(table, options)
    connection.execute(build)
    connection.execute("SET LOCAL enable_seqscan = off")  # the graph, also of few rows


def _search(connection: psycopg.Connection[Any], count: int) -> Search:
    ask = sql.SQL("SELECT id FROM {} ORDER BY code <#> %s::vector LIMIT {}").format(
        sql.Identifier("pg_temp", _TABLE), sql.Literal(count)
    )

    def search(query: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
        connection.execute(sql.SQL("SET LOCAL hnsw.ef_search = {}").format(sql.Literal(ef)))
        found = np.full((len(query), count), -1, np.int64)
        for place, row in enumerate(query.tolist()):
            ids = [one for (one,) in connection.execute(ask, [_text(row)]).fetchall()]
            found[place, : len(ids)] = ids
        return found

    return search


def _text(row: list[float]) -> str:
    return "[" + ",".join(map(repr, row)) + "]"
