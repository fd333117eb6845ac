# SPDX-License-Identifier: Apache-2.0
"""Rows are appended to and deleted from each real store, in step with the folder of the codes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.code_folders import code_folder, planted
from helpers.store_places import KINDS

from lightning_monocon.stores import check, load, open_store, read_bundle
from lightning_monocon.stores.update import FarRowsWarning, append, delete


@pytest.mark.parametrize(("place", "kind"), KINDS)
def test_store_and_folder_change_together(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str
) -> None:
    bundle = code_folder(tmp_path / "out", kind)
    collection = load(bundle, open_store(request.getfixturevalue(place)))
    more, ids = planted(30, seed=9).numpy(), np.arange(30) + 10_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grown = append(collection, bundle, ids, more)
    assert [found.ids[0] for found in collection.search(more, 1, exact=True)] == ids.tolist()
    with pytest.raises(ValueError, match="ids that the store has not"):
        append(collection, grown, np.array([20_000, 10_001]), more[:2])
    gone = np.concatenate([ids[:2], bundle.ids[5:9], [999_999]])
    left = delete(collection, grown, gone)
    again = read_bundle(tmp_path / "out")
    assert again.ids.tolist() == left.ids.tolist() == [one for one in grown.ids.tolist() if one not in gone]
    assert np.array_equal(again.codes, left.codes)
    assert collection.store.count() == len(again) == 600 + 30 - 6
    report = check(collection, again, again.queries)
    assert report.wrong == 0, report.example
    collection.store.close()


def test_far_rows_are_warned_of_and_written(tmp_path: Path, file: str) -> None:
    bundle = code_folder(tmp_path / "out", "int8")
    collection = load(bundle, open_store(file))
    other = planted(50, seed=9).numpy()
    other[:, :16] = 0  # the directions that vary most, of which the code holds sixteen
    with pytest.warns(
        FarRowsWarning, match=r"^\d\d of 50 rows are far from those that the code was chosen for: it los"
    ):
        bundle = append(collection, bundle, np.arange(50) + 10_000, other)
    mixed = planted(200, seed=10).numpy()
    mixed[:3] = other[:3]
    with pytest.warns(FarRowsWarning, match="3 of 200 rows"):
        bundle = append(collection, bundle, np.arange(200) + 20_000, mixed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        untold = append(collection, replace(bundle, domain=None), np.arange(3) + 30_000, other[:3])
    assert collection.store.count() == len(untold) == 853
    collection.store.close()


def test_bad_changes_leave_store_and_folder(tmp_path: Path, file: str) -> None:
    bundle = code_folder(tmp_path / "out", "bit")
    collection = load(bundle, open_store(file))
    more = planted(2, seed=9).numpy()
    for ids, rows, message in (
        (np.array([1]), more, "`ids` must name each row; got 1 ids and 2 rows"),
        (np.array([1, 1]), more, "`ids` must name each row once"),
        (np.array(["a", "b"]), more, "`ids` must be int as those in the store; got text"),
        (np.array([1, 2]), more[:, :-1], "`rows` must have 24 numbers each"),
        (np.array([1, 2]), more * np.nan, "`rows` "),
    ):
        with pytest.raises(ValueError, match=message):
            append(collection, bundle, ids, rows)
    with pytest.raises(ValueError, match="`ids` must be int as those in the store; got text"):
        delete(collection, bundle, np.array(["a"]))
    assert collection.store.count() == len(read_bundle(tmp_path / "out")) == 600
    collection.store.close()


def test_neighbours_that_may_be_others_now_are_forgotten(tmp_path: Path, file: str) -> None:
    bundle = code_folder(tmp_path / "out", "bit")
    np.savez(tmp_path / "out" / "queries.npz", queries=bundle.queries, nearest=np.tile(bundle.ids[:10], (40, 1)))
    bundle = read_bundle(tmp_path / "out")
    assert bundle.nearest is not None
    collection = load(bundle, open_store(file))
    assert delete(collection, bundle, bundle.ids[:1]).nearest is None
    again = read_bundle(tmp_path / "out")
    assert again.nearest is None and np.array_equal(again.queries, bundle.queries)
    collection.store.close()
