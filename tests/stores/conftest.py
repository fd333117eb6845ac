# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from helpers.store_places import duck, faiss_file, file, lance, shards, usearch_file

__all__ = ["duck", "faiss_file", "file", "lance", "shards", "usearch_file"]

pytest.importorskip("psycopg")
