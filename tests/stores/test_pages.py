# SPDX-License-Identifier: Apache-2.0
"""Every block of the pages on stores runs against the real engines and finds what the codec finds."""

from __future__ import annotations

import re
import sys
from importlib import invalidate_caches
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.code_folders import best, code_folder, planted

from lightning_monocon.cli import main
from lightning_monocon.stores import Bundle, Collection, check, open_store
from lightning_monocon.stores.update import delete


def _blocks(root: Path, page: str, language: str) -> list[str]:
    text = (root / "docs" / page).read_text(encoding="utf-8")
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found


def _run(root: Path, page: str, bundle: Bundle, **given: Any) -> dict[str, Any]:
    """Run the blocks of Python of a page one after another, and return their names."""
    invalidate_caches()  # a file that was written a moment ago is not seen otherwise
    names: dict[str, Any] = {"embedding": bundle.queries[0].tolist(), **given}
    for block in _blocks(root, page, "python"):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder, whose OUT will be searched for modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "OUT")
    for name in ("codec_numpy", "query_sqlite", "query_duckdb", "query_lancedb", "query_qdrant"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "OUT"


def test_blocks_of_the_page_on_stores(root: Path, folder: Path) -> None:
    bundle = code_folder(folder, "int8")
    names: dict[str, Any] = {"new_rows": planted(1, seed=9).numpy()}
    loading, changing = _blocks(root, "stores.md", "python")
    exec(compile(loading, "stores.md", "exec"), names)
    assert names["answers"][0].ids.tolist() == best(bundle)
    exec(compile(changing, "stores.md", "exec"), names)
    assert names["bundle"].ids.tolist() == bundle.ids.tolist()


def test_blocks_of_the_page_on_pgvector(root: Path, folder: Path, database: str) -> None:
    bundle = code_folder(folder, "bit")
    main(["load", "OUT", "--into", database])
    names = _run(root, "stores/pgvector.md", bundle, ADDRESS=database)
    assert len(set(dict(names["rows"])) & set(best(bundle))) >= 9
    with names["connection"] as connection:
        answers = [connection.execute(block) for block in _blocks(root, "stores/pgvector.md", "sql")]
        assert answers[1].fetchall() == [(bundle.stamp,)]
        assert 100 < answers[2].fetchall()[0][0] < 600
        assert answers[3].fetchall()[0] == (7,)
        assert answers[4].rowcount == 1
    store = open_store(database)
    assert store.stamp() is None
    store.close()


def test_blocks_of_the_page_on_sqlite(root: Path, folder: Path) -> None:
    bundle = code_folder(folder, "bit")
    main(["load", "OUT", "--into", "sqlite:///vectors.db"])
    names = _run(root, "stores/sqlite.md", bundle)
    assert [one for one, _ in names["rows"]] == best(bundle)
    assert sorted(names["by_hand"]) == sorted(best(bundle))
    store = open_store("sqlite:///vectors.db")
    assert store.count() == len(bundle) - 1
    store.close()


def test_blocks_of_the_page_on_index_files(root: Path, folder: Path) -> None:
    bundle = code_folder(folder, "bit")
    main(["load", "OUT", "--into", "faiss:///rows.faiss"])
    main(["load", "OUT", "--into", "usearch:///rows.usearch"])
    names = _run(root, "stores/index_files.md", bundle)
    assert set(names["by_faiss"].tolist()) == set(best(bundle))
    assert len(set(names["by_usearch"].tolist()) & set(best(bundle))) >= 9
    assert bundle.ids[0] == 7
    left = delete(Collection(open_store("faiss:///rows.faiss"), bundle.codec, bundle.stamp), bundle, bundle.ids[:1])
    for address in ("faiss:///rows.faiss", "usearch:///rows.usearch"):
        assert check(Collection(open_store(address), bundle.codec, bundle.stamp), left, left.queries).passed


@pytest.mark.parametrize("kind", ["int8", "bit"])
def test_blocks_of_the_page_on_duckdb(root: Path, folder: Path, kind: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    bundle = code_folder(folder, kind)
    main(["load", "OUT", "--into", "duckdb:///vectors.duckdb", "--shortlist", "600"])
    names = _run(root, "stores/duckdb.md", bundle)
    assert len({one for one, _ in names["rows"]} & set(best(bundle))) >= (10 if kind == "int8" else 9)
    stamp, by_hand, deletion = _blocks(root, "stores/duckdb.md", "sql")
    with duckdb.connect("vectors.duckdb") as connection:
        assert connection.execute(stamp).fetchall() == [(bundle.stamp,)]
        if kind == "int8":
            found = connection.execute(by_hand, [bundle.queries[0].tolist()]).fetchall()
            assert [row[0] for row in found] == best(bundle)
        assert connection.execute(deletion).fetchall() == [(1,)]


@pytest.mark.parametrize("kind", ["half", "bit"])
def test_blocks_of_the_page_on_lancedb(root: Path, folder: Path, kind: str) -> None:
    pytest.importorskip("lancedb")
    bundle = code_folder(folder, kind)
    main(["load", "OUT", "--into", "lancedb://vectors"])
    names = _run(root, "stores/lancedb.md", bundle)
    assert len({row["id"] for row in names["found"]} & set(best(bundle))) >= 9
    assert [one for one, _ in names["answers"]] == best(bundle)
    if kind == "bit":
        own = bundle.codec.score(bundle.queries[:1], np.asarray(bundle.codes))[0]
        places = [(row["id"] - 7) // 3 for row in names["near"]]
        assert np.allclose(names["scores"], own[places], atol=1e-6)
    assert open_store("lancedb://vectors").count() == len(bundle) - 1


def test_blocks_of_the_page_on_qdrant(root: Path, folder: Path) -> None:
    pytest.importorskip("qdrant_edge")
    bundle = code_folder(folder, "half")
    main(["load", "OUT", "--into", "qdrant:///vectors"])
    names = _run(root, "stores/qdrant.md", bundle)
    assert len({point.id for point in names["found"]} & set(best(bundle))) >= 9
    assert len({one for one, _ in names["rows"]} & set(best(bundle))) >= 9
    store = open_store("qdrant:///vectors")
    assert store.count() == len(bundle) - 1
    store.close()
