# SPDX-License-Identifier: Apache-2.0
"""Write beside the codes a file that asks the store for the nearest rows of an embedding, without this package."""

from __future__ import annotations

from pathlib import Path

from lightning_monocon.runs.files import write_text
from lightning_monocon.stores.columns import Kind

_PGVECTOR = """\
-- The 10 nearest rows of an embedding, nearest first:
--     psql URL -v embedding='[0.1, 0.2, ...]' -f query_pgvector.sql
-- The arguments are the embedding, the rows to return, and how many rows ranked by bits are scored again. The function
-- lets the index find 200; for more: ALTER FUNCTION "NAME_search" SET hnsw.ef_search = 1000
SELECT id, score FROM "NAME_search"(:'embedding'::vector, 10, 200);
"""

_SQLITE = '''\
"""Search the table NAME with NumPy, sqlite-vec and codec_numpy.py beside this file.

from query_sqlite import connect, search

connection = connect("vectors.db")
search(connection, embedding)  # the ids and scores of the 10 nearest rows of D floats, nearest first
"""

import json
import sqlite3
from pathlib import Path

import numpy as np
import sqlite_vec
from codec_numpy import Codec

if not hasattr(sqlite3.Connection, "enable_load_extension"):
    import pysqlite3 as sqlite3  # some builds of Python cannot load extensions

FOLDER = Path(__file__).parent
CODEC = Codec(FOLDER)
STAMP = json.loads((FOLDER / "codec.json").read_text("utf-8"))["stamp"]


def connect(file):
    """Open a file; ValueError if its codes are not of the codec of this folder."""
    connection = sqlite3.connect(file)
    connection.enable_load_extension(True)
    sqlite_vec.load(connection)
    connection.enable_load_extension(False)
    held = json.loads(connection.execute('SELECT stamp FROM "NAME_codec"').fetchone()[0])
    if held["codec"] != STAMP:
        raise ValueError(f"`file` must hold codes of {FOLDER}; those of {file} are of another space.")
    return connection


def search(connection, embedding, wanted=10, shortlist=200):
    """Return ``[(id, score), ...]``; the ``shortlist`` rows that the store finds (4096 at most) are scored again."""
    rows = np.asarray(embedding, np.float32)[None]
    query = 'SELECT id, code FROM "NAME" WHERE code MATCH vec_KIND(?) AND k = ? ORDER BY distance'
    found = connection.execute(query, [_asked(rows).tobytes(), max(wanted, shortlist)]).fetchall()
    if not found:
        return []
    codes = np.frombuffer(b"".join(code for _, code in found), np.uint8).reshape(len(found), -1)
    scores = CODEC.score(rows, codesSIGNED)[0]
    return sorted(zip((one for one, _ in found), scores.tolist()), key=lambda pair: (-pair[1], pair[0]))[:wanted]


'''

_BITS = """\
def _asked(rows):
    return CODEC.encode(rows)
"""

_INT8 = """\
def _asked(rows):  # sqlite-vec takes int8 queries only; a cosine does not depend on the length
    points = CODEC.queries(rows)[:, : CODEC.bytes_per_vector]
    return np.rint(points * (127 / max(np.abs(points).max(), 1e-38))).astype(np.int8)
"""


def write_query(folder: Path, store: str, name: str, kind: Kind) -> Path | None:
    """Write the file of a store into the folder of the codec, and return its path; None if there is none.

    Args:
        folder: A folder that holds the codec.
        store: `Store.title`.
        name: The table.
        kind: What its column holds.
    """
    texts = {
        "pgvector": ("query_pgvector.sql", _PGVECTOR),
        "sqlite-vec": ("query_sqlite.py", _SQLITE + (_BITS if kind == "bit" else _INT8)),
    }
    if store not in texts:
        return None
    file, text = texts[store]
    signed = "" if kind == "bit" else " ^ np.uint8(128)"
    write_text(folder / file, text.replace("NAME", name).replace("KIND", kind).replace("SIGNED", signed))
    return folder / file
