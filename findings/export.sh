#!/usr/bin/env bash
# A row of zeros under the cosine: NaN, NULL, first or in the middle, but not last.
#
# One would guess: a vector database puts a row that has no direction last in a cosine search, or leaves it out. (Centred
# embeddings have such rows: an empty text at the gallery's mean becomes zeros.)
# What happens: DuckDB 2.0.1 computes NaN and sorts it as the largest number there is, so ORDER BY
# array_cosine_similarity(...) DESC returns the row of zeros FIRST, for every query, while ORDER BY
# array_cosine_distance(...) returns it last: two spellings of one search differ. sqlite-vec 0.1.9 returns the row with the
# distance NULL, at a place that changes with the query and is ahead of rows that have a distance.
# What follows for us: docs/search.md says to drop rows of zeros before they go into a store, and shows how to find them.
#
# Seen (Linux, Python 3.11):
#   duckdb 2.0.1, sqlite-vec v0.1.9
#   duckdb cosine similarity, descending: place [0] of 20, nan
#   duckdb cosine distance, ascending: place [19] of 20, nan
#   sqlite-vec cosine: places [16, 17, 18, 19] of 20, {None}
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.1 sqlite-vec==0.1.9 pysqlite3-binary==0.5.4.post2 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import duckdb
import numpy as np
import pysqlite3
import sqlite_vec

rows = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
rows[7] = 0

duck = duckdb.connect()
duck.execute("CREATE TABLE t (id INTEGER, v FLOAT[4])")
duck.executemany("INSERT INTO t VALUES (?, ?)", [(i, row.tolist()) for i, row in enumerate(rows)])
lite = pysqlite3.connect(":memory:")
lite.enable_load_extension(True)
sqlite_vec.load(lite)
lite.execute("CREATE VIRTUAL TABLE t USING vec0(v FLOAT[4] distance_metric=cosine)")
for i, row in enumerate(rows):
    lite.execute("INSERT INTO t (rowid, v) VALUES (?, ?)", (i, row.tobytes()))
print(f"duckdb {duckdb.__version__}, sqlite-vec {lite.execute('SELECT vec_version()').fetchone()[0]}")


def in_duckdb(function: str, order: str, query: np.ndarray) -> tuple[int, float]:
    text = f"SELECT id, {function}(v, ?::FLOAT[4]) AS d FROM t ORDER BY d {order}"
    found = duck.execute(text, [query.tolist()]).fetchall()
    place = [name for name, _ in found].index(7)
    return place, found[place][1]


queries = [i for i in range(20) if i != 7]
first = {in_duckdb("array_cosine_similarity", "DESC", rows[i])[0] for i in queries}
last = {in_duckdb("array_cosine_distance", "ASC", rows[i])[0] for i in queries}
value = in_duckdb("array_cosine_similarity", "DESC", rows[0])[1]
print(f"duckdb cosine similarity, descending: place {sorted(first)} of 20, {value}")
print(f"duckdb cosine distance, ascending: place {sorted(last)} of 20, {value}")

places, distances = set(), set()
for i in queries:
    found = lite.execute("SELECT rowid, distance FROM t WHERE v MATCH ? AND k = 20", (rows[i].tobytes(),)).fetchall()
    place = [name for name, _ in found].index(7)
    places.add(place)
    distances.add(found[place][1])
print(f"sqlite-vec cosine: places {sorted(places)} of 20, {distances}")

as_stated = first == {0} and last == {19} and np.isnan(value) and distances == {None} and places != {19}
sys.exit(0 if as_stated else 1)
PYTHON
