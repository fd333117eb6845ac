# SPDX-License-Identifier: Apache-2.0
"""Every block of the pages on DuckDB, LanceDB and Qdrant runs against the real engine and finds what codecs find."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.code_folders import code_folder

from lightning_monocon.cli import main
from lightning_monocon.stores import Bundle, open_store


def _blocks(root: Path, page: str, language: str) -> list[str]:
    text = (root / "docs" / "stores" / page).read_text(encoding="utf-8")
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found


def _run(root: Path, page: str, bundle: Bundle) -> dict[str, Any]:
    """Run the blocks of Python of a page one after another, and return their names."""
    names: dict[str, Any] = {"embedding": bundle.queries[0].tolist()}
    for block in _blocks(root, page, "python"):
        exec(compile(block, page, "exec"), names)
    return names


def _best(bundle: Bundle) -> list[int]:
    scores = bundle.codec.score(bundle.queries[:1], np.asarray(bundle.codes))[0]
    found: list[int] = bundle.ids[np.lexsort((bundle.ids, -scores))[:10]].tolist()
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "OUT"


@pytest.mark.parametrize("kind", ["int8", "bit"])
def test_blocks_of_the_page_on_duckdb(root: Path, folder: Path, kind: str) -> None:
    pytest.importorskip("duckdb")
    bundle = code_folder(folder, kind)
    main(["load", "OUT", "--into", "duckdb:///vectors.duckdb", "--shortlist", "600"])
    names = _run(root, "duckdb.md", bundle)
    assert len({one for one, _ in names["rows"]} & set(_best(bundle))) >= (10 if kind == "int8" else 9)
    stamp, by_hand, deletion = _blocks(root, "duckdb.md", "sql")
    with names["connection"] as connection:
        assert connection.execute(stamp).fetchall() == [(bundle.stamp,)]
        if kind == "int8":
            found = connection.execute(by_hand, [bundle.queries[0].tolist()]).fetchall()
            assert [row[0] for row in found] == _best(bundle)
        assert connection.execute(deletion).fetchall() == [(1,)]


@pytest.mark.parametrize("kind", ["half", "bit"])
def test_blocks_of_the_page_on_lancedb(root: Path, folder: Path, kind: str) -> None:
    pytest.importorskip("lancedb")
    bundle = code_folder(folder, kind)
    main(["load", "OUT", "--into", "lancedb://vectors"])
    names = _run(root, "lancedb.md", bundle)
    assert len({row["id"] for row in names["found"]} & set(_best(bundle))) >= 9
    if kind == "bit":
        own = bundle.codec.score(bundle.queries[:1], np.asarray(bundle.codes))[0]
        places = [(row["id"] - 7) // 3 for row in names["near"]]
        assert np.allclose(names["scores"], own[places], atol=1e-6)
    assert open_store("lancedb://vectors").count() == len(bundle) - 1


def test_blocks_of_the_page_on_qdrant(root: Path, folder: Path) -> None:
    pytest.importorskip("qdrant_edge")
    bundle = code_folder(folder, "half")
    main(["load", "OUT", "--into", "qdrant:///vectors"])
    names = _run(root, "qdrant.md", bundle)
    assert len({point.id for point in names["found"]} & set(_best(bundle))) >= 9
    store = open_store("qdrant:///vectors")
    assert store.count() == len(bundle) - 1
    store.close()
