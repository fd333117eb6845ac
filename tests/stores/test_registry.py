# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from importlib import import_module

import pytest

from lightning_monocon.cli.shrink import STORES
from lightning_monocon.codes.candidates import STORED
from lightning_monocon.stores.registry import KINDS

CLASSES = {
    "pgvector": ("pgvector", "PgvectorStore", "psycopg"),
    "sqlite": ("sqlite", "SqliteStore", "sqlite_vec"),
    "duckdb": ("duckdb", "DuckdbStore", "duckdb"),
    "lancedb": ("lancedb", "LancedbStore", "lancedb"),
    "qdrant": ("qdrant", "QdrantStore", "qdrant_edge"),
    "faiss": ("faiss_index", "FaissStore", "faiss"),
    "usearch": ("usearch_index", "UsearchStore", "usearch"),
}


def test_every_store_can_be_shrunk_for() -> None:
    assert tuple(KINDS) == STORES == tuple(CLASSES)
    assert {kind for kinds in KINDS.values() for kind in kinds} == set(STORED)


@pytest.mark.parametrize("name", CLASSES)
def test_the_table_tells_what_a_store_holds(name: str) -> None:
    module, store, package = CLASSES[name]
    pytest.importorskip(package)
    found = import_module(f"lightning_monocon.stores.{module}")
    assert tuple(getattr(found, store).kinds) == KINDS[name]
