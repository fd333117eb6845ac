# SPDX-License-Identifier: Apache-2.0
"""List the fixtures that name places of stores, with what the columns of each hold."""

from __future__ import annotations

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
