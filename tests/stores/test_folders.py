# SPDX-License-Identifier: Apache-2.0
"""Tests of what only the folders of LanceDB and of Qdrant's engine have: rests of failed writing, and ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.code_folders import code_folder

from lightning_monocon.stores import Bundle, check, load, open_store


def test_lancedb_leaves_tables_of_others_alone(tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(tmp_path / "lance")
    late = open_store(f"lancedb://{tmp_path / 'lance'}")  # it has seen a free name
    database.create_table("documents", [{"id": 1}])
    bundle = code_folder(tmp_path / "out", "bit")
    with pytest.raises(ValueError, match="already exists"):
        load(bundle, late)
    assert database.open_table("documents").count_rows() == 1
    with pytest.raises(ValueError, match=r"the table documents in .* is another's"):
        load(bundle, open_store(f"lancedb://{tmp_path / 'lance'}"))


def test_lancedb_writes_over_the_rest_of_a_killed_writer(tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    (tmp_path / "lance" / "documents.lance" / "data").mkdir(parents=True)
    bundle = code_folder(tmp_path / "out", "bit")
    assert load(bundle, open_store(f"lancedb://{tmp_path / 'lance'}")).store.count() == len(bundle)


def test_qdrant_refuses_other_folders_open_shards_and_ids_below_zero(tmp_path: Path) -> None:
    pytest.importorskip("qdrant_edge")
    address = f"qdrant:///{tmp_path / 'shards'}"
    bundle = code_folder(tmp_path / "out", "half")
    (tmp_path / "shards" / "documents").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"the folder .*documents is another's"):
        load(bundle, open_store(address))
    below = Bundle(bundle.folder, bundle.codec, bundle.stamp, bundle.codes, bundle.ids - 8, bundle.queries)
    with pytest.raises(ValueError, match="ids from 0, or text, for Qdrant; got -1"):
        load(below, open_store(address, "below"))
    assert [one.name for one in (tmp_path / "shards").iterdir()] == ["documents"]
    collection = load(bundle, open_store(address, "mine"))
    with pytest.raises(ConnectionError, match="no other process has open"):
        open_store(address, "mine")
    collection.store.close()


def test_qdrant_finds_rows_of_zeros_and_equal_rows(tmp_path: Path) -> None:
    pytest.importorskip("qdrant_edge")
    bundle = code_folder(tmp_path / "out", "half")
    codes = np.array(bundle.codes)
    codes[:3], codes[5:9] = 0, codes[4]
    tied = Bundle(bundle.folder, bundle.codec, bundle.stamp, codes, bundle.ids, bundle.queries)
    collection = load(tied, open_store(f"qdrant:///{tmp_path / 'shards'}"))
    report = check(collection, tied, tied.queries, k=len(tied))
    assert report.wrong == 0, report.example
    collection.store.close()
