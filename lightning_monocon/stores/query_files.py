# SPDX-License-Identifier: Apache-2.0
"""Write beside the codes a file that asks the store for the nearest rows of an embedding, without this package."""

from __future__ import annotations

from pathlib import Path

from lightning_monocon.runs.files import write_text
from lightning_monocon.stores.columns import Column

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


_DUCKDB = '''\
"""Search the table NAME with DuckDB alone: the macro in the file maps the embedding and scores as the codec does.

from query_duckdb import connect, search

connection = connect("vectors.duckdb")
search(connection, embedding)  # the ids and scores of the 10 nearest rows of D floats, nearest first
"""

import json
from pathlib import Path

import duckdb

FOLDER = Path(__file__).parent
STAMP = json.loads((FOLDER / "codec.json").read_text("utf-8"))["stamp"]


def connect(file):
    """Open a file to read; ValueError if its codes are not of the codec of this folder."""
    connection = duckdb.connect(file, read_only=True)
    held = connection.execute("SELECT comment ->> 'codec' FROM duckdb_tables() WHERE table_name = 'NAME'").fetchone()
    if held != (STAMP,):
        connection.close()
        raise ValueError(f"`file` must hold codes of {FOLDER}; those of {file} are of another space.")
    return connection


def search(connection, embedding, wanted=10, shortlist=200):
    """Return ``[(id, score), ...]``; of codes of bits the ``shortlist`` rows that are nearest are scored again."""
    query = 'SELECT id, score FROM "NAME_search"($1, wanted := $2, shortlist := $3)'
    return connection.execute(query, [[float(one) for one in embedding], wanted, shortlist]).fetchall()
'''

_LANCEDB = '''\
"""Search the table NAME with NumPy, lancedb and codec_numpy.py beside this file.

from query_lancedb import connect, search

table = connect("vectors")
search(table, embedding)  # the ids and scores of the 10 nearest rows of D floats, nearest first
"""

import json
from pathlib import Path

import lancedb
import numpy as np
from codec_numpy import Codec

FOLDER = Path(__file__).parent
CODEC = Codec(FOLDER)
STAMP = json.loads((FOLDER / "codec.json").read_text("utf-8"))["stamp"]


def connect(folder):
    """Open the table in a folder of LanceDB; ValueError if its codes are not of the codec beside this file."""
    table = lancedb.connect(folder).open_table("NAME")
    held = json.loads(table.schema.metadata[b"monocon"])
    if held["codec"] != STAMP:
        raise ValueError(f"`folder` must hold codes of {FOLDER}; those of {folder} are of another space.")
    return table


def search(table, embedding, wanted=10, shortlist=200):
    """Return ``[(id, score), ...]``; the ``shortlist`` rows that the store finds are scored again."""
    rows = np.asarray(embedding, np.float32)[None]
    query = table.search(_asked(rows)[0], vector_column_name="code").distance_type("METRIC")
    found = query.limit(max(wanted, shortlist)).select(["id", "code", "_distance"]).to_list()
    if not found:
        return []
    codes = np.array([row["code"] for row in found], TYPE).view(np.uint8)
    scores = CODEC.score(rows, codes)[0]
    return sorted(((row["id"], one) for row, one in zip(found, scores.tolist())), key=lambda p: (-p[1], p[0]))[:wanted]


'''

_QDRANT = '''\
"""Search the shard NAME with NumPy, qdrant-edge-py and codec_numpy.py beside this file.

from query_qdrant import connect, search

shard = connect("vectors")  # one process at a time; shard.close() gives it back
search(shard, embedding)  # the ids and scores of the 10 nearest rows of D floats, nearest first
"""

import json
from pathlib import Path

import numpy as np
import qdrant_edge as edge
from codec_numpy import Codec

FOLDER = Path(__file__).parent
CODEC = Codec(FOLDER)
STAMP = json.loads((FOLDER / "codec.json").read_text("utf-8"))["stamp"]


def connect(folder):
    """Open the shard in a folder; ValueError if its codes are not of the codec beside this file."""
    shard = edge.EdgeShard.load(str(Path(folder) / "NAME"))
    same = edge.Filter(must=[edge.FieldCondition("codec", match=edge.MatchValue(STAMP))])
    if not shard.scroll(edge.ScrollRequest(filter=same))[0]:
        shard.close()
        raise ValueError(f"`folder` must hold codes of {FOLDER}; those of {folder} are of another space.")
    return shard


def search(shard, embedding, wanted=10, shortlist=200, exact=False):
    """Return ``[(id, score), ...]``; the ``shortlist`` rows that the store finds are scored again."""
    rows = np.asarray(embedding, np.float32)[None]
    nearest = edge.Query.Nearest(_asked(rows)[0].tolist(), using="code")
    parameters = edge.SearchParams(exact=exact)
    request = edge.SearchRequest(nearest, max(wanted, shortlist), None, None, parameters, True, True)
    found = shard.search(request)
    if not found:
        return []
    codes = np.array([point.vector["code"] for point in found], "<f2").view(np.uint8)
    ids = [(point.payload or {}).get("id", point.id) for point in found]
    return sorted(zip(ids, CODEC.score(rows, codes)[0].tolist()), key=lambda pair: (-pair[1], pair[0]))[:wanted]


'''

_INDEX_FILE = '''\
"""Search an index file with NumPy, LIBRARY and codec_numpy.py beside this file.

from query_LIBRARY import connect, search

index = connect("rows.LIBRARY")
search(index, embedding)  # the ids and scores of the 10 nearest rows of D floats, nearest first
"""

import json
from pathlib import Path

import numpy as np
from codec_numpy import Codec
IMPORT

FOLDER = Path(__file__).parent
CODEC = Codec(FOLDER)
STAMP = json.loads((FOLDER / "codec.json").read_text("utf-8"))["stamp"]


def connect(file):
    """Read an index file; ValueError if its codes are not of the codec beside this file."""
    held = json.loads(Path(f"{file}.json").read_text("utf-8"))
    if held["codec"] != STAMP:
        raise ValueError(f"`file` must hold codes of {FOLDER}; those of {file} are of another space.")
    return OPENED


def search(index, embedding, wanted=10, shortlist=200):
    """Return ``[(id, score), ...]``; the ``shortlist`` rows that the index finds are scored again."""
    rows = np.asarray(embedding, np.float32)[None]UNPACKED
    found = FOUND
    if not found:
        return []
    codes = np.asarray(STORED, TYPE).view(np.uint8)
    scores = CODEC.score(rows, codes)[0].tolist()
    return sorted(zip(IDS, scores), key=lambda pair: (-pair[1], pair[0]))[:wanted]


'''

_FAISS = {
    "LIBRARY": "faiss",
    "IMPORT": "import faiss",
    "FOUND": "[one for one in index.search(_asked(rows), max(wanted, shortlist))[1][0].tolist() if one >= 0]",
    "STORED": "[index.reconstruct(one) for one in found]",
}
_USEARCH = {
    "LIBRARY": "usearch",
    "IMPORT": "from usearch.index import Index",
    "FOUND": "index.search(_asked(rows)[0], max(wanted, shortlist)).keys.tolist()",
    "STORED": "index.get(np.array(found, np.uint64))",
}

_HALF = """\
def _asked(rows):  # divided by the largest number: a query beyond the range of float16 would find nothing
    points = CODEC.queries(rows)[:, : CODEC.bytes_per_vector // 2]
    return points / max(np.abs(points).max(), 1e-38)
"""


_NUMBERS = {"OPENED": "READ(str(file))", "UNPACKED": "", "IDS": "found"}
_TEXTS = {
    "OPENED": """\
READ(str(file)), {
        number: name for name, number in json.loads(Path(f"{file}.ids.json").read_text("utf-8")).items()
    }""",
    "UNPACKED": "\n    index, names = index",
    "IDS": "[names[one] for one in found]",
}


def write_query(folder: Path, store: str, name: str, column: Column, ids: str = "int") -> Path:
    """Write the file of a store into the folder of the codec, and return its path.

    Args:
        folder: A folder that holds the codec.
        store: `Store.title`.
        name: The table.
        column: How the codes lie.
        ids: ``"int"`` or ``"text"``, as the stamp says.
    """
    asked = {"half": _HALF, "int8": _INT8, "bit": _BITS}[column.kind]
    texts = {
        "pgvector": ("query_pgvector.sql", _PGVECTOR),
        "sqlite-vec": ("query_sqlite.py", _SQLITE + asked),
        "DuckDB": ("query_duckdb.py", _DUCKDB),
        "LanceDB": ("query_lancedb.py", _LANCEDB + asked),
        "Qdrant": ("query_qdrant.py", _QDRANT + asked),
        "FAISS": ("query_faiss.py", _INDEX_FILE + asked),
        "usearch": ("query_usearch.py", _INDEX_FILE + asked),
    }
    file, text = texts[store]
    words = {
        **{"FAISS": _FAISS, "usearch": _USEARCH}.get(store, {}),
        **(_TEXTS if ids == "text" else _NUMBERS),
        "NAME": name,
        "KIND": column.kind,
        "METRIC": column.metric,
        "SIGNED": "" if column.kind == "bit" else " ^ np.uint8(128)",
        "READ": _reader(store, column),
        "TYPE": "np.uint8" if column.kind == "bit" else '"<f2"',
    }
    for word, value in words.items():
        text = text.replace(word, value)
    write_text(folder / file, text)
    return folder / file


def _reader(store: str, column: Column) -> str:
    """Return the function of a library that reads its index files."""
    if store == "usearch":
        return "Index.restore"
    return "faiss.read_index_binary" if column.kind == "bit" else "faiss.read_index"
