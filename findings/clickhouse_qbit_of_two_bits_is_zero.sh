#!/usr/bin/env bash
# The first bits of ClickHouse's QBit are the exponent: two to four of them say nothing about unit rows, one says more
#
# Guess: `QBit` stores the bits of the numbers apart, so that a search reads as many of each number as it is told
# ("fewer bits for less I/O and faster calculations, or more bits for higher accuracy"). Two bits rank rows better than
# one, four better than two, and eight about as well as a byte does that rounds them.
#
# What happens (chdb 4.4.0, ClickHouse 26.9, `QBit(Float32, 128)`): the bits are those of the IEEE number, its sign and
# then its exponent. One bit is the sign, as +-2. Two bits add the first of the exponent, which is 0 for whatever is
# smaller than 2: all unit rows become zeros, all distances are equal, and the rows come in no order of nearness. By
# Euclidean distance three and four bits do no better, for the numbers are 1e-19 and 5e-10. The signs count again from
# five bits on; seven find a little more than one, and nine, the whole exponent, less than four bits of the same rows in
# a column of Int8, where each bit halves the range. Nothing is raised.
#
# What follows for us: docs/search.md says that int8 codes are stored in `QBit(Int8, ...)`, not read out of floats.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 chdb==4.4.0

OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import chdb
import numpy as np
from chdb import session

print(*(f"{name} {version(name)}" for name in ("numpy", "chdb")))
database = session.Session()


def ask(sql):
    return database.query(sql, "CSV").data()


print("ClickHouse", ask("SELECT version()").strip())
rng = np.random.default_rng(0)
rows = 0.7 * rng.standard_normal((20, 128))[rng.integers(20, size=1000)] + rng.standard_normal((1000, 128))
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
queries = rows[:20] + 0.05 * rng.standard_normal((20, 128))
queries /= np.linalg.norm(queries, axis=1, keepdims=True)
wanted = [set(np.argsort(-rows @ query)[:10].tolist()) for query in queries]
step = np.abs(rows).max() / 127


def fill(kind, values):
    ask(f"CREATE TABLE {kind} (id Int32, v QBit({kind}, 128)) ENGINE = Memory")
    lines = (f"({number},[{','.join(map(repr, row))}])" for number, row in enumerate(values.tolist()))
    ask(f"INSERT INTO {kind} VALUES {','.join(lines)}")


def searched(kind, function, bits, asked):
    """Return the share of the ten nearest rows that is found, and how many distances differ."""
    shares, distinct = [], []
    for query, nearest in zip(asked.tolist(), wanted):
        distance = f"{function}(v, {query}::Array({kind}), {bits})"
        found = [line.split(",") for line in ask(f"SELECT id, {distance} AS d FROM {kind} ORDER BY d, id").split()]
        shares.append(len(nearest & {int(one) for one, _ in found[:10]}) / 10)
        distinct.append(len({one for _, one in found}))
    return round(float(np.mean(shares)), 2), int(np.median(distinct))


fill("Float32", rows)
fill("Int8", np.round(rows / step).astype(int))
found = {}
for bits in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16):
    by = {name: searched("Float32", f"{name}Transposed", bits, queries) for name in ("L2Distance", "cosineDistance")}
    if bits <= 8:
        by["L2Distance of Int8"] = searched("Int8", "L2DistanceTransposed", bits, np.round(queries / step).astype(int))
    found[bits] = by
    print(f"{bits} bits, share of the ten nearest and number of distances:", by)

ask("CREATE TABLE one (v QBit(Float32, 8)) ENGINE = Memory")
ask("INSERT INTO one VALUES ([0.3, -0.3, 0.01, -0.9, 1.1, 3, -100, 0.00001])")
read = {}
for bits in (1, 2, 4, 8, 9, 12):
    units = (np.eye(8, dtype=int)[place].tolist() for place in range(8))
    read[bits] = [float(ask(f"SELECT dotProductTransposed(v, {unit}::Array(Float32), {bits}) FROM one")) for unit in units]
    print(f".3, -.3, .01, -.9, 1.1, 3, -100 and .00001 by {bits} bits:", *(f"{number:.3g}" for number in read[bits]))

euclid = {bits: by["L2Distance"][0] for bits, by in found.items()}
angle = {bits: by["cosineDistance"][0] for bits, by in found.items()}
own = {bits: by["L2Distance of Int8"][0] for bits, by in found.items() if bits <= 8}
as_stated = (
    found[2]["L2Distance"][1] == found[2]["cosineDistance"][1] == found[3]["L2Distance"][1] == 1
    and max(euclid[2], euclid[3], euclid[4], angle[2]) < 0.2 < 0.4 < euclid[1]
    and euclid[1] < euclid[7] < euclid[9] < euclid[12]
    and max(euclid[9], angle[8]) < own[4] < own[8]
    and all(own[bits] <= own[bits + 1] for bits in range(2, 8))
    and read[1] == [2, -2, 2, -2, 2, 2, -2, 2]
    and read[2] == [0, 0, 0, 0, 0, 2, -2, 0]
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 chdb 4.4.0
#   ClickHouse "26.9.2.1"
#   1 bits, share of the ten nearest and number of distances: {'L2Distance': (0.54, 992), 'cosineDistance': (0.55, 998), 'L2Distance of Int8': (0.54, 520)}
#   2 bits, share of the ten nearest and number of distances: {'L2Distance': (0.05, 1), 'cosineDistance': (0.05, 1), 'L2Distance of Int8': (0.53, 567)}
#   3 bits, share of the ten nearest and number of distances: {'L2Distance': (0.05, 1), 'cosineDistance': (0.55, 998), 'L2Distance of Int8': (0.7, 692)}
#   4 bits, share of the ten nearest and number of distances: {'L2Distance': (0.01, 18), 'cosineDistance': (0.55, 998), 'L2Distance of Int8': (0.86, 804)}
#   5 bits, share of the ten nearest and number of distances: {'L2Distance': (0.51, 981), 'cosineDistance': (0.55, 998), 'L2Distance of Int8': (0.93, 897)}
#   6 bits, share of the ten nearest and number of distances: {'L2Distance': (0.56, 999), 'cosineDistance': (0.56, 1000), 'L2Distance of Int8': (0.94, 943)}
#   7 bits, share of the ten nearest and number of distances: {'L2Distance': (0.61, 1000), 'cosineDistance': (0.63, 1000), 'L2Distance of Int8': (0.97, 976)}
#   8 bits, share of the ten nearest and number of distances: {'L2Distance': (0.72, 1000), 'cosineDistance': (0.74, 1000), 'L2Distance of Int8': (0.99, 992)}
#   9 bits, share of the ten nearest and number of distances: {'L2Distance': (0.77, 1000), 'cosineDistance': (0.85, 1000)}
#   12 bits, share of the ten nearest and number of distances: {'L2Distance': (0.96, 1000), 'cosineDistance': (0.97, 1000)}
#   16 bits, share of the ten nearest and number of distances: {'L2Distance': (1.0, 1000), 'cosineDistance': (1.0, 1000)}
#   .3, -.3, .01, -.9, 1.1, 3, -100 and .00001 by 1 bits: 2 -2 2 -2 2 2 -2 2
#   .3, -.3, .01, -.9, 1.1, 3, -100 and .00001 by 2 bits: 0 0 0 0 0 2 -2 0
#   .3, -.3, .01, -.9, 1.1, 3, -100 and .00001 by 4 bits: 4.66e-10 -4.66e-10 4.66e-10 -4.66e-10 4.66e-10 2 -2 4.66e-10
#   .3, -.3, .01, -.9, 1.1, 3, -100 and .00001 by 8 bits: 0.125 -0.125 0.00781 -0.5 0.5 2 -32 7.63e-06
#   .3, -.3, .01, -.9, 1.1, 3, -100 and .00001 by 9 bits: 0.375 -0.375 0.0117 -0.75 1.5 3 -96 1.14e-05
#   .3, -.3, .01, -.9, 1.1, 3, -100 and .00001 by 12 bits: 0.297 -0.297 0.0103 -0.906 1.06 3.12 -100 1e-05
#   as stated
