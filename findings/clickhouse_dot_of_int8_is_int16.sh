#!/usr/bin/env bash
# ClickHouse sums the dot product of int8 arrays in 16 bits
#
# Guess: `dotProduct` of two `Array(Int8)` is summed in at least 32 bits, since the product of two numbers fills 15
# already; a dot product of int8 codes is exact, as `L2Distance` of the same arrays is.
#
# What happens (chdb 4.4.0, ClickHouse 26.9): the result is Int16, and UInt16 for UInt8: four numbers of 100 give
# -25 536 instead of 40 000, and 384 of them -26 624 instead of 3 840 000. No error: a gallery of int8 codes is ranked by
# the low 16 bits of its scores. `L2Distance` and `cosineDistance` of the same arrays work in floating point and are
# right, and so is `dotProduct` of arrays cast to Int32, or of a tuple instead of an array.
#
# What follows for us: docs/search.md says to rank int8 codes there by `L2Distance`, or cast to Int32 first; what a store
# computes is compared with our own scores before the store is supported.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check chdb==4.4.0

OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import chdb

print("chdb", version("chdb"), "ClickHouse", chdb.query("select version()", "CSV").data().strip())


def ask(sql):
    return chdb.query(f"select {sql}", "CSV").data().strip().strip('"')


def array(number, kind, count):
    return f"arrayMap(x -> {number}::{kind}, range({count}))"


four, codes, wide = array(100, "Int8", 4), array(100, "Int8", 384), array(100, "Int32", 384)
bytes_ = array(200, "UInt8", 4)
found = {
    "type": ask(f"toTypeName(dotProduct({four}, {four}))"),
    "4 x 100": ask(f"dotProduct({four}, {four})"),
    "384 x 100": ask(f"dotProduct({codes}, {codes})"),
    "4 x 200, unsigned": ask(f"dotProduct({bytes_}, {bytes_})"),
    "384 x 100 as Int32": ask(f"dotProduct({wide}, {wide})"),
    "cosineDistance": ask(f"cosineDistance({codes}, {codes})"),
    "tuple": ask("dotProduct(" + ", ".join(["tuple(" + ", ".join(["100::Int8"] * 4) + ")"] * 2) + ")"),
}
for name, value in found.items():
    print(f"{name}: {value}")

as_stated = list(found.values()) == ["Int16", "-25536", "-26624", "28928", "3840000", "0", "40000"]
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   chdb 4.4.0 ClickHouse "26.9.2.1"
#   type: Int16
#   4 x 100: -25536
#   384 x 100: -26624
#   4 x 200, unsigned: 28928
#   384 x 100 as Int32: 3840000
#   cosineDistance: 0
#   tuple: 40000
#   as stated
