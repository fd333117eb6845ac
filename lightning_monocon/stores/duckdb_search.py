# SPDX-License-Identifier: Apache-2.0
"""Write a macro into DuckDB that searches a table of codes by plain embeddings: clients need nothing of ours.

``NAME_codec`` holds one row per number of the code: its direction, its offset and, for bits, the two levels.
``NAME_search(embedding, wanted := 10, shortlist := 200)`` maps the embedding by it, ranks the codes and, for bits,
scores the ``shortlist`` nearest again by the float coordinates.
"""

from __future__ import annotations

import duckdb

from lightning_monocon.codes import LevelQuantiser
from lightning_monocon.stores.columns import Column
from lightning_monocon.stores.directions import directions_of

_COORDINATES = """
  WITH given AS (SELECT embedding::DOUBLE[{dim}] AS e),
  unit AS (SELECT list_transform(e::DOUBLE[], lambda one: one / {length})::DOUBLE[{dim}] AS x FROM given),
  asked AS (SELECT number, array_inner_product(direction, x) - shift AS y, shift, cut, low, high, stored
            FROM "{name}_codec", unit)"""

_INT8 = """,
  query AS (SELECT array_agg(y ORDER BY number)::FLOAT[{width}] AS q FROM asked WHERE stored),
  near AS (SELECT id, {distance}(code::FLOAT[{width}], q) AS distance FROM "{name}", query
           ORDER BY distance, id LIMIT wanted)
  SELECT id, ({score})::FLOAT AS score FROM near ORDER BY distance, id"""

_BITS = """,
  query AS (SELECT (string_agg(CASE WHEN y > cut THEN '1' ELSE '0' END, '' ORDER BY number)
                    || repeat('0', {spare}))::BIT AS q FROM asked WHERE stored),
  near AS (SELECT id, code FROM "{name}", query ORDER BY bit_count(xor(code, q)), id LIMIT shortlist),
  terms AS (SELECT near.id, {value} AS y,
                   CASE WHEN a.stored AND get_bit(near.code, a.number) = 1 THEN a.high ELSE a.low END AS v
            FROM near, asked a)
  SELECT id, (sum(y * v) / {length})::FLOAT AS score FROM terms GROUP BY id
  ORDER BY score DESC, id LIMIT wanted"""

_MACRO = 'CREATE MACRO "{name}_search"(embedding, wanted := 10, shortlist := 200) AS TABLE {body}'

_TABLE = """
CREATE TABLE "{name}_codec" (number INTEGER PRIMARY KEY, direction DOUBLE[{dim}] NOT NULL, shift DOUBLE NOT NULL,
                             cut DOUBLE, low DOUBLE, high DOUBLE, stored BOOLEAN NOT NULL)"""


def write_search(connection: duckdb.DuckDBPyConnection, name: str, column: Column) -> None:
    """Write the table of the codec and the search macro of the table ``name``."""
    connection.execute(_TABLE.format(name=name, dim=column.codec.dim))
    rows = [[one[0], one[1].tolist(), *one[2:]] for one in directions_of(column.codec)]
    connection.executemany(f'INSERT INTO "{name}_codec" VALUES (?, ?, ?, ?, ?, ?, ?)', rows)
    connection.execute(_MACRO.format(name=name, body=_body(name, column)))


def _body(name: str, column: Column) -> str:
    space = column.codec.space
    norm = "greatest(sqrt(array_inner_product(e, e)), 1e-30)" if space.similarity == "cosine" else "1"
    begun = _COORDINATES.format(name=name, dim=column.codec.dim, length=norm)
    if column.kind == "bit":
        length = "1" if space.similarity == "dot" else "nullif(sqrt(sum(v * v)), 0)"
        if space.scoring == "centred":
            length = "nullif(sqrt(sum(v * v) * sum(y * y)), 0)"
        value = "a.y + a.shift" if space.scoring == "whole" else "a.y"
        spare = column.width - space.matrix.shape[0]
        return begun + _BITS.format(name=name, spare=spare, value=value, length=length)
    distance, score = "array_cosine_distance", "1 - distance"
    if space.scoring == "whole":  # the query keeps the length that it has in the span of the numbers
        score = f"({score}) * (SELECT sqrt(sum(y * y)) FROM asked WHERE stored)"
    if column.metric == "dot":
        distance, score = "array_negative_inner_product", f"-distance * {_step(column)!r}"
    return begun + _INT8.format(name=name, width=column.width, distance=distance, score=score)


def _step(column: Column) -> float:
    """Return what the stored number 1 stands for."""
    quantiser = column.codec.quantiser
    assert isinstance(quantiser, LevelQuantiser)  # what an int8 column holds
    return float(quantiser.levels[0, 129])
