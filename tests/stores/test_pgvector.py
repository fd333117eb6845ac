# SPDX-License-Identifier: Apache-2.0
"""Tests of what only PostgreSQL has: the search function in the database, errors without passwords, and kills."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import psycopg
import pytest
from helpers.code_folders import OPTIONS, code_folder, planted

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import fit_scalar
from lightning_monocon.codes.fitting import Similarity
from lightning_monocon.codes.space import Scoring
from lightning_monocon.stores import Column, check, load, open_store
from lightning_monocon.stores.pgvector import PgvectorStore


def _codec(kind: str, similarity: Similarity, scoring: Scoring) -> Codec:
    return fit_scalar(FittingRows.of(planted(), similarity), 16, OPTIONS[kind], scoring)


@pytest.mark.parametrize(
    ("kind", "similarity", "scoring"),
    [
        ("half", "cosine", "whole"),
        ("half", "cosine", "centred"),
        ("half", "dot", "whole"),
        ("bit", "cosine", "whole"),
        ("bit", "cosine", "centred"),
        ("bit", "dot", "whole"),
    ],
)
def test_search_function_scores_as_the_codec(
    database: str, tmp_path: Path, kind: str, similarity: Similarity, scoring: Scoring
) -> None:
    bundle = code_folder(tmp_path / "out", _codec(kind, similarity, scoring))
    load(bundle, open_store(database, "rows"), index=False).store.close()
    own = bundle.codec.score(bundle.queries, np.asarray(bundle.codes))
    with psycopg.connect(database) as connection:
        for query, scores in zip(bundle.queries[:10], own[:10], strict=True):
            text = json.dumps(query.tolist())
            found = connection.execute("SELECT id, score FROM rows_search(%s::vector, 10, 600)", [text]).fetchall()
            places = [(one - 7) // 3 for one, _ in found]
            given = np.array([score for _, score in found])
            scale = np.linalg.norm(bundle.codec.decode(np.asarray(bundle.codes)), axis=1).max()
            if similarity == "cosine" or kind == "bit":
                assert np.allclose(given, scores[places], atol=2e-3 * scale if kind == "half" else 1e-5 * scale)
            best = np.sort(scores)[-10:][::-1]
            assert np.allclose(scores[places], best, atol=4e-3 * scale if kind == "half" else 1e-5 * scale)


@pytest.mark.parametrize("length", [1e-9, 1e7])
def test_search_function_answers_queries_beyond_float16(database: str, tmp_path: Path, length: float) -> None:
    bundle = code_folder(tmp_path / "out", _codec("half", "dot", "whole"))
    load(bundle, open_store(database, "rows"), index=False).store.close()
    query = bundle.queries[:1] * np.float32(length)
    own = bundle.codec.score(query, np.asarray(bundle.codes))[0]
    with psycopg.connect(database) as connection:
        asked = [json.dumps(query[0].tolist())]
        found = connection.execute("SELECT id, score FROM rows_search(%s::vector)", asked).fetchall()
    scores = own[[(one - 7) // 3 for one, _ in found]]
    tolerance = 4e-3 * float(np.abs(own).max())
    assert np.allclose(scores, np.sort(own)[-10:][::-1], atol=tolerance)
    assert np.allclose([score for _, score in found], scores, atol=tolerance)


def test_the_graph_is_built_in_memory(database: str, tmp_path: Path) -> None:
    bundle = code_folder(tmp_path / "out", "bit", planted(1600))
    store = open_store(f"{database}%20-cmaintenance_work_mem%3D1MB")
    assert isinstance(store, PgvectorStore)
    notices: list[str] = []
    store._connection.add_notice_handler(lambda told: notices.append(told.message_primary or ""))
    load(bundle, store)
    assert not any("no longer fits" in one for one in notices)
    assert store._value("SELECT current_setting('maintenance_work_mem')") == "1MB"
    store._run("CREATE INDEX ON {table} USING hnsw (code bit_hamming_ops)")
    assert any("no longer fits" in one for one in notices)  # the planted graph is larger than the server's memory
    store.close()


def test_without_shared_memory_one_process_builds_the_index(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(database)
    assert isinstance(store, PgvectorStore)
    create, workers = store._create_index, []

    def refused(column: Column) -> None:
        workers.append(store._value("SELECT current_setting('max_parallel_maintenance_workers')"))
        if len(workers) == 1:
            raise psycopg.errors.DiskFull("could not resize shared memory segment")
        create(column)

    monkeypatch.setattr(store, "_create_index", refused)
    bundle = code_folder(tmp_path / "out", "bit")
    assert check(load(bundle, store), bundle, bundle.queries).passed
    assert workers[0] != "0" and workers[1] == "0"
    assert store._value("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%%hnsw%%' AND tablename = 'documents'")
    store.close()


def test_passwords_are_not_told() -> None:
    with pytest.raises(ConnectionError, match=r"postgresql://me:\*\*\*@127.0.0.1:1/db says") as caught:
        open_store("postgresql://me:geheim@127.0.0.1:1/db")
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ValueError, match="must begin with one of") as told:
        open_store("mysql://me:geheim@host/db")
    assert "geheim" not in str(told.value)


def test_foreign_tables_are_left_alone(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE documents (id int)")
        connection.execute("COMMENT ON TABLE documents IS 'my own'")
    store = open_store(database)
    with pytest.raises(ValueError, match=r"the table documents in .* is another's"):
        load(code_folder(tmp_path / "out", "bit"), store)
    store.close()


def test_another_table_of_the_function_s_name_leaves_nothing(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE documents_codec (id int)")
    store = open_store(database)
    with pytest.raises(ValueError, match='relation "documents_codec" already exists'):
        load(code_folder(tmp_path / "out", "bit"), store)
    assert store.stamp() is None
    store.close()
