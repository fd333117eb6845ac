# SPDX-License-Identifier: Apache-2.0
"""Write a function into PostgreSQL that searches a table of codes by plain embeddings: clients need nothing of ours.

``NAME_codec`` holds one row per number of the code: its direction, its offset and, for bits, the two levels.
``NAME_search(embedding, wanted, shortlist)`` maps the embedding by it, ranks the codes and, for bits, scores the
``shortlist`` nearest again by the float coordinates. A query of float16 is divided by its largest number, which is put
back into the scores: pgvector refuses numbers beyond the range of float16 and rounds small ones to zero.
"""

from __future__ import annotations

from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from lightning_monocon.stores.collection import SHORTLIST
from lightning_monocon.stores.columns import Column
from lightning_monocon.stores.directions import directions_of
from lightning_monocon.stores.store import Stamp

_COORDINATES = """
  WITH unit AS (SELECT {unit} AS x),
  asked AS (SELECT number, -(direction <#> x) - shift AS y, shift, cut, low, high, stored FROM {codec}, unit)"""

_HALF = (
    _COORDINATES
    + """,
  largest AS (SELECT greatest(max(abs(y)), 1e-38) AS s FROM asked WHERE stored),
  query AS (SELECT array_agg(y / s ORDER BY number)::real[]::halfvec({width}) AS q FROM asked, largest WHERE stored)
  SELECT t.id, ({score})::real FROM {table} t ORDER BY t.code {operator} (SELECT q FROM query) LIMIT wanted"""
)

_BITS = (
    _COORDINATES
    + """,
  query AS (SELECT (string_agg(CASE WHEN y > cut THEN '1' ELSE '0' END, '' ORDER BY number)
                    || repeat('0', {spare}))::bit({width}) AS q FROM asked WHERE stored),
  near AS (SELECT t.id, t.code FROM {table} t ORDER BY t.code <~> (SELECT q FROM query) LIMIT shortlist),
  terms AS (SELECT near.id, {value} AS y,
                   CASE WHEN a.stored AND get_bit(near.code, a.number) = 1 THEN a.high ELSE a.low END AS v
            FROM near, asked a)
  SELECT terms.id, (sum(y * v) / {length})::real AS score FROM terms GROUP BY terms.id
  ORDER BY score DESC, terms.id LIMIT wanted"""
)

_FUNCTION = """
CREATE FUNCTION {search}(embedding vector({dim}), wanted integer DEFAULT 10, shortlist integer DEFAULT 200)
RETURNS TABLE (id {ids}, score real) LANGUAGE sql STABLE SET hnsw.ef_search = {ef} AS {body}"""

_TABLE = """
CREATE TABLE {codec} (number integer PRIMARY KEY, direction vector({dim}) NOT NULL, shift float8 NOT NULL,
                      cut float8, low float8, high float8, stored boolean NOT NULL)"""


def write_search(connection: psycopg.Connection[Any], name: str, column: Column, stamp: Stamp) -> None:
    """Write the table of the codec and the search function of the table ``name``."""
    dim = sql.Literal(column.codec.dim)
    codec = sql.Identifier(f"{name}_codec")
    connection.execute(sql.SQL(_TABLE).format(codec=codec, dim=dim))
    insert = sql.SQL("INSERT INTO {} VALUES (%s, %s::vector, %s, %s, %s, %s, %s)").format(codec)
    with connection.cursor() as cursor:
        cursor.executemany(insert, [(one[0], _vector(one[1]), *one[2:]) for one in directions_of(column.codec)])
    ids = sql.SQL("text" if stamp.ids == "text" else "bigint")
    body = sql.Literal(_body(column, name, codec).as_string(connection))
    search = sql.Identifier(f"{name}_search")
    connection.execute(sql.SQL(_FUNCTION).format(search=search, dim=dim, ids=ids, body=body, ef=sql.Literal(SHORTLIST)))


def _body(column: Column, name: str, codec: sql.Identifier) -> sql.Composed:
    space = column.codec.space
    unit = sql.SQL("l2_normalize(embedding)" if space.similarity == "cosine" else "embedding")
    width = sql.Literal(column.width)
    table = sql.Identifier(name)
    if column.kind == "half":
        operator, score = ("<=>", "(1 - (t.code <=> (SELECT q FROM query)))")
        if space.scoring == "whole":  # the query keeps the length that it has in the span of the numbers
            score += " * (SELECT sqrt(sum(y * y)) FROM asked WHERE stored)"
        if column.metric == "dot":
            operator, score = ("<#>", "-(t.code <#> (SELECT q FROM query)) * (SELECT s FROM largest)")
        return sql.SQL(_HALF).format(
            unit=unit, codec=codec, width=width, table=table, operator=_plain(operator), score=_plain(score)
        )
    length = "1" if space.similarity == "dot" else "nullif(sqrt(sum(v * v)), 0)"
    if space.scoring == "centred":
        length = "nullif(sqrt(sum(v * v) * sum(y * y)), 0)"
    return sql.SQL(_BITS).format(
        unit=unit,
        codec=codec,
        width=width,
        spare=sql.Literal(column.width - space.matrix.shape[0]),
        table=table,
        value=_plain("a.y + a.shift" if space.scoring == "whole" else "a.y"),
        length=_plain(length),
    )


def _vector(numbers: NDArray[Any]) -> str:
    return "[" + ",".join(repr(number) for number in numbers.astype(np.float32).tolist()) + "]"


def _plain(text: LiteralString) -> sql.SQL:
    return sql.SQL(text)
