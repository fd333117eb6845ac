# SPDX-License-Identifier: Apache-2.0
"""Rows are appended to and deleted from each real store, in step with the folder of the codes."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.code_folders import code_folder, planted
from helpers.patience import PATIENCE
from helpers.store_places import KINDS

from lightning_monocon.inference.row_ids import check_ids
from lightning_monocon.stores import Collection, check, load, open_store, read_bundle
from lightning_monocon.stores.bundle import changing
from lightning_monocon.stores.update import FarRowsWarning, append, delete

FROM_ZERO = ("shards", "usearch_file")
"""Stores whose ids have no sign."""

MOMENTS = ("store", "between", "folder", "both")
"""When a process is killed: as it writes the store, after that, and as it writes the folder; and two at a time."""

FILES = ("sqlite", "faiss", "usearch")
"""Stores of a file, by the scheme of their addresses."""

CHANGING = """
import os, signal, sys
import numpy as np
from lightning_monocon.stores import Collection, bundle, collection, open_store, read_bundle, update

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(path, array, write=bundle._write):
    write(path, array)
    kill()

def child(address, out, moment, first):
    held = read_bundle(out)
    found = Collection(open_store(address, existing=True), held.codec, held.stamp)
    if moment == "store":
        collection.blocks_of = kill
    elif moment == "between":
        update.write_rows = kill
    elif moment == "folder":
        bundle._write = half
    update.append(found, held, np.arange(first, first + 30), np.load("more.npy"))
    os._exit(0)

for case in sys.argv[1:]:
    moment, *cases = case.split(";")
    children = []
    for number, one in enumerate(cases):
        pid = os.fork()
        if not pid:
            try:
                child(*one.split(), moment, 10_000 + 1_000 * number)
            except (ConnectionError, ValueError):
                os._exit(2)
        children.append(pid)
    print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


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


@pytest.mark.parametrize(("place", "kind"), KINDS)
def test_any_integers_name_rows_and_all_rows_may_go(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str
) -> None:
    bundle, more = code_folder(tmp_path / "out", kind), planted(8, seed=9).numpy()
    collection = load(bundle, open_store(request.getfixturevalue(place)))
    bundle = append(collection, bundle, np.array([2**63 - 1, 2**63 - 2, 0], np.uint64), more[:3])
    bundle = append(collection, bundle, np.array([1, 2], np.int32), more[3:5])
    assert bundle.ids.dtype == read_bundle(tmp_path / "out").ids.dtype == np.int64
    found = [answer.ids[0] for answer in collection.search(more[:5], 1, exact=True)]
    assert found == [2**63 - 1, 2**63 - 2, 0, 1, 2]
    below = np.array([-1, -2])
    if place in FROM_ZERO:
        with pytest.raises(ValueError, match="must hold ids from 0"):
            append(collection, bundle, below, more[5:7])
    else:
        bundle = append(collection, bundle, below, more[5:7])
        assert [answer.ids[0] for answer in collection.search(more[5:7], 1, exact=True)] == [-1, -2]
    assert len(delete(collection, bundle, np.array([]))) == collection.store.count() == len(bundle)
    assert len(delete(collection, bundle, bundle.ids.astype(np.int64))) == collection.store.count() == 0
    assert [len(answer.ids) for answer in collection.search(more[:2], 3)] == [0, 0]
    bundle = append(collection, read_bundle(tmp_path / "out"), np.arange(8), more)
    assert [answer.ids[0] for answer in collection.search(more, 1)] == list(range(8))
    assert check(collection, bundle, more).passed
    collection.store.close()


def test_a_change_that_is_killed_or_meets_another_leaves_store_and_folder_of_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = planted(30, seed=9).numpy()
    np.save("more.npy", more)
    cases = {(moment, f"{moment}-{kind}"): f"{kind}:///{moment}.{kind}" for moment in MOMENTS for kind in FILES}
    for (_, out), where in cases.items():
        load(code_folder(Path(out), "bit"), open_store(where)).store.close()
    words = [
        ";".join([moment, *[f"{where} {out}"] * (1 + (moment == "both"))]) for (moment, out), where in cases.items()
    ]
    command = [sys.executable, "-W", "ignore", "-c", CHANGING, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ})
    ended = done.stdout.splitlines()

    for codes, ((moment, out), where) in zip(ended, cases.items(), strict=True):
        allowed = {"0 0", "0 2", "2 0"} if moment == "both" else {"-9"}
        assert codes in allowed, done.stderr[-2000:]
        bundle = read_bundle(out)
        collection = Collection(open_store(where), bundle.codec, bundle.stamp)
        report = check(collection, bundle, bundle.queries)
        appended = {"store": 0, "between": 0, "folder": 30, "both": 30 * codes.count("0")}[moment]
        assert report.loaded == len(bundle) == 600 + appended
        assert report.stored == 600 + (30 if moment == "between" else appended)
        assert report.passed == (moment != "between")
        if moment == "between":  # the store has the rows, the folder has not
            bundle = delete(collection, bundle, np.arange(30) + 10_000)
            bundle = append(collection, bundle, np.arange(30) + 10_000, more)
            assert check(collection, bundle, bundle.queries).passed and len(read_bundle(out)) == 630
        collection.store.close()


def test_a_folder_that_another_process_changes_is_refused_before_the_store_is_touched(
    tmp_path: Path, file: str
) -> None:
    stale, more = code_folder(tmp_path / "out", "bit"), planted(4, seed=9).numpy()
    collection = load(stale, open_store(file))
    with (
        changing(stale),
        pytest.raises(ConnectionError, match="`OUT` must be a folder that no other process changes; the rows of"),
    ):
        append(collection, stale, np.arange(4), more)
    bundle = append(collection, stale, np.arange(4), more)
    for change in (
        lambda: append(collection, stale, np.arange(4) + 10, more),
        lambda: delete(collection, stale, np.array([7])),
    ):
        with pytest.raises(ValueError, match=r"`bundle` must be what its folder holds; the rows of .* read it again"):
            change()
    assert collection.store.count() == len(bundle) == len(read_bundle(tmp_path / "out")) == 604
    collection.store.close()


@pytest.mark.parametrize(
    ("place", "kind"),
    [("database", "bit"), ("file", "bit"), ("lance", "half"), ("faiss_file", "bit"), ("usearch_file", "bit")],
)
def test_a_store_that_stays_open_sees_what_another_client_writes(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str
) -> None:
    bundle, more, ids = code_folder(tmp_path / "out", kind), planted(5, seed=9).numpy(), np.arange(5)
    address, codes = request.getfixturevalue(place), bundle.codec.encode(more)
    ours = load(bundle, open_store(address))
    theirs = Collection(open_store(address), bundle.codec, bundle.stamp)
    assert theirs.store.count() == 600 and len(theirs.search(more, 1)) == 5  # whatever is kept is kept now
    ours.append(ids, codes)
    assert theirs.store.count() == 605
    assert [answer.ids[0] for answer in theirs.search(more, 1, exact=True)] == ids.tolist()
    with pytest.raises(ValueError, match="`rows` must hold ids that the store has not"):
        theirs.append(ids, codes)
    assert theirs.delete(ids) == 5
    assert ours.store.count() == 600
    ours.store.close()
    theirs.store.close()


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
        (np.array([1, 2**63], np.uint64), more, "`ids` must be integers up to 9223372036854775807; got 92"),
        (np.array([1, -(2**63)]), more, "`ids` must be integers up to 9223372036854775807; got -92"),
        (np.array([0.5, 1]), more, "`ids` must be one integer or text a row"),
    ):
        with pytest.raises(ValueError, match=message):
            append(collection, bundle, ids, rows)
    with pytest.raises(ValueError, match="`ids` must be int as those in the store; got text"):
        delete(collection, bundle, np.array(["a"]))
    with pytest.raises(ValueError, match=r"`codes` must be \(2, 3\) uint8, one of each id; got \(600, 3\) uint8"):
        collection.append(np.array([1, 2]), bundle.codes)
    with pytest.raises(ValueError, match=r"`ids` must be text that UTF-8 can write; 'a\\ud800' is not"):
        check_ids("ids", np.array(["a\ud800"]))
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
