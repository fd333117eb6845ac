# SPDX-License-Identifier: Apache-2.0
"""Name the places where codes are put."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("psycopg")


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Return the address of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'vectors.db'}"
