# SPDX-License-Identifier: Apache-2.0
"""Name the places where codes are put, and what the columns of each store hold."""

from __future__ import annotations

from pathlib import Path

import pytest

KINDS = [
    ("database", "half"),
    ("database", "bit"),
    ("file", "int8"),
    ("file", "bit"),
    ("duck", "int8"),
    ("duck", "bit"),
    ("lance", "half"),
    ("lance", "bit"),
    ("shards", "half"),
    ("faiss_file", "half"),
    ("faiss_file", "bit"),
    ("usearch_file", "half"),
    ("usearch_file", "bit"),
]
"""Fixtures of places, and what their columns hold."""


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


@pytest.fixture
def faiss_file(tmp_path: Path) -> str:
    """Return the address of an index file of FAISS that is not there yet."""
    pytest.importorskip("faiss")
    return f"faiss:///{tmp_path / 'rows.faiss'}"


@pytest.fixture
def usearch_file(tmp_path: Path) -> str:
    """Return the address of an index file of usearch that is not there yet."""
    pytest.importorskip("usearch")
    return f"usearch:///{tmp_path / 'rows.usearch'}"
