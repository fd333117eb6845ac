#!/usr/bin/env bash
# The sign bits of one vector, packed by three libraries
#
# Guess: a binary code holds a bit for each number, set where the number is positive, first number first.
# numpy.packbits (which sentence-transformers uses for "ubinary"), FAISS and sqlite-vec then give the same bytes, and
# codes of one may be searched by queries of another.
#
# What happens (numpy 2.4.6, faiss-cpu 1.15.1, sqlite-vec 0.1.9): three libraries, three codes. numpy fills a byte from
# its highest bit; FAISS and sqlite-vec fill it from its lowest. And a zero is a set bit to FAISS (x >= 0) but an unset
# one to sqlite-vec (x > 0), so that after a ReLU *every* FAISS code is all ones and every Hamming distance is 0.
# Nothing is refused, for the bytes have the right length: a search over mixed codes merely finds hardly anything.
#
# What follows for us: the `binary` export packs as numpy does. IndexBinaryFlat takes any order, so that such codes may
# be searched in FAISS by our own codes, but they are not "in the order that FAISS expects" (docs/search.md, the model
# card, the docstring of the calibration). For a query from `fvecs2bitvecs`, IndexLSH or sqlite-vec's
# `vec_quantize_binary` the gallery must be repacked (`bitorder="little"`), and FAISS's own bits must not be made of
# what comes out of a ReLU.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
# apsw brings an SQLite that may load extensions; the one of Python often may not
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 faiss-cpu==1.15.1 sqlite-vec==0.1.9 apsw==3.54.1.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import apsw
import faiss
import numpy as np
import sqlite_vec

print(*(f"{name} {version(name)}" for name in ("numpy", "faiss-cpu", "sqlite-vec", "apsw")))
database = apsw.Connection(":memory:")
database.enable_load_extension(True)
database.load_extension(sqlite_vec.loadable_path())


def by_numpy(rows):
    return np.packbits(rows > 0, axis=1)


def by_faiss(rows):
    codes = np.empty((len(rows), rows.shape[1] // 8), dtype=np.uint8)
    faiss.fvecs2bitvecs(faiss.swig_ptr(rows), faiss.swig_ptr(codes), rows.shape[1], len(rows))
    return codes


def by_sqlite(rows):
    sql = "select vec_quantize_binary(?)"
    return np.stack([np.frombuffer(database.execute(sql, [row.tobytes()]).get, dtype=np.uint8) for row in rows])


def bits(codes):
    return " ".join(f"{byte:08b}" for byte in codes[0])


def neighbours(gallery, query):
    index = faiss.IndexBinaryFlat(8 * gallery.shape[1])
    index.add(gallery)
    return index.search(query, 10)[1]


pack = {"numpy": by_numpy, "faiss": by_faiss, "sqlite-vec": by_sqlite}
one = np.array([[1, 1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 1, -1, -1, -1, -1]], dtype=np.float32)
print("numbers    ", *one[0].astype(int))
for name, packed in pack.items():
    print(f"{name:11}", bits(packed(one)))

# 2 000 rows of 64 numbers; the queries are stored rows with a little noise, none of them has a zero
random = np.random.default_rng(0)
rows = random.standard_normal((2000, 64)).astype(np.float32)
asked = (rows[:200] + 0.1 * random.standard_normal((200, 64))).astype(np.float32)
found = {}
for stored in pack:
    for query in pack:
        ids = neighbours(pack[stored](rows), pack[query](asked))
        found[stored, query] = float(np.mean([row in ids[row] for row in range(200)]))
        print(f"stored by {stored:10} asked by {query:10}: own row among the first ten {found[stored, query]:6.1%}")

relu = np.maximum(rows, 0)
different = {name: len(np.unique(packed(relu), axis=0)) for name, packed in pack.items()}
print("different codes of 2000 rows after a ReLU:", different)

as_stated = (
    bits(by_numpy(one)) == "11000000 00010000"
    and bits(by_faiss(one)) == "00000011 00001111"
    and bits(by_sqlite(one)) == "00000011 00001000"
    and all(found[name, name] == 1.0 for name in pack)
    and found["faiss", "sqlite-vec"] == 1.0
    and found["numpy", "faiss"] < 0.1
    and found["numpy", "sqlite-vec"] < 0.1
    and different == {"numpy": 2000, "faiss": 1, "sqlite-vec": 2000}
    and np.array_equal(faiss.IndexLSH(16, 16, False, False).sa_encode(one), by_faiss(one))
    and np.array_equal(np.packbits(rows > 0, axis=1, bitorder="little"), by_sqlite(rows))
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 faiss-cpu 1.15.1 sqlite-vec 0.1.9 apsw 3.54.1.0
#   numbers     1 1 -1 -1 -1 -1 -1 -1 0 0 0 1 -1 -1 -1 -1
#   numpy       11000000 00010000
#   faiss       00000011 00001111
#   sqlite-vec  00000011 00001000
#   stored by numpy      asked by numpy     : own row among the first ten 100.0%
#   stored by numpy      asked by faiss     : own row among the first ten   3.0%
#   stored by numpy      asked by sqlite-vec: own row among the first ten   3.0%
#   stored by faiss      asked by numpy     : own row among the first ten   3.0%
#   stored by faiss      asked by faiss     : own row among the first ten 100.0%
#   stored by faiss      asked by sqlite-vec: own row among the first ten 100.0%
#   stored by sqlite-vec asked by numpy     : own row among the first ten   3.0%
#   stored by sqlite-vec asked by faiss     : own row among the first ten 100.0%
#   stored by sqlite-vec asked by sqlite-vec: own row among the first ten 100.0%
#   different codes of 2000 rows after a ReLU: {'numpy': 2000, 'faiss': 1, 'sqlite-vec': 2000}
#   as stated
