# SPDX-License-Identifier: Apache-2.0
"""HNSW graphs of a real server, against exact searches, through the scorecard and its command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import psycopg
import pytest
from helpers.code_folders import planted

from lightning_monocon.cli import main
from lightning_monocon.scorecard import EmbeddingSet
from lightning_monocon.scorecard.graph_index import SEARCH, graph_searches
from lightning_monocon.stores.pgvector_graph import PgvectorGraph

GALLERY, QUERY = planted(800, 24, seed=0), planted(30, 24, seed=1)


def test_more_candidates_find_more_and_all_find_all(database: str) -> None:
    ((name, search),) = [
        *graph_searches(EmbeddingSet(GALLERY, None, QUERY), [], PgvectorGraph(database))[0].recall.items()
    ]
    assert name.startswith("pgvector 0.") and len(search) == len(SEARCH)
    assert search[0] < search[2] <= search[-1] and search[0] < 1.0, "a graph was searched, and not all rows"
    assert search[-1] > 0.99
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT to_regclass('monocon_graph')").fetchone() == (None,)
        left = connection.execute("SELECT count(*) FROM pg_class WHERE relname = 'monocon_graph'").fetchone()
        assert left == (0,)


def test_the_command_measures_it_beside_the_libraries_and_tells_no_password(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("gallery.npy", GALLERY[:6])
    np.save("query.npy", QUERY)
    address = database.replace("postgresql://postgres:@", "postgresql://postgres:geheim@")
    assert "geheim" in address
    words = ["score", "gallery.npy", "query.npy", "--truth", "neighbours", "--out", "out"]
    words += ["--index", "hnsw", address]
    monkeypatch.setattr("sys.argv", ["monocon", *words])
    main(words)
    assert "geheim" not in capsys.readouterr().out
    card = json.loads(Path("out/scorecard.json").read_text())
    assert [name.split()[0] for name in card["graphs"][0]["recall"]] == ["FAISS", "usearch", "pgvector"]
    assert set(map(tuple, card["graphs"][0]["recall"].values())) == {(1.0,) * len(SEARCH)}
    assert "postgres:***@" in card["origin"]["command"]
    assert not any("geheim" in path.read_text(errors="replace") for path in Path("out").iterdir())


def test_a_server_without_pgvector_and_rows_too_wide_are_refused(server: str) -> None:
    with pytest.raises(ConnectionError, match="`--index` must be a database with the extension vector; postgresql"):
        PgvectorGraph(server.replace("/postgres?", "/template1?")).check()
    with pytest.raises(ValueError, match=r"must leave pgvector out for more than 2000 numbers.* got 2001"):
        next(PgvectorGraph(server)(np.ones((3, 2001), np.float32)))
