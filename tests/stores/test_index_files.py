# SPDX-License-Identifier: Apache-2.0
"""Tests of what only index files have: two files, one of which may be missing, and a change that writes both anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.code_folders import OPTIONS, code_folder, planted

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families import fit_scalar
from lightning_monocon.stores import Collection, check, load, open_store

PLACES = ["faiss_file", "usearch_file"]


def _path(address: str) -> Path:
    return Path(address.split(":///")[1])


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_failed_change_leaves_the_file(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, text: bool
) -> None:
    bundle = code_folder(tmp_path / "out", "bit", text=text)
    address = request.getfixturevalue(place)
    collection = load(bundle, open_store(address))
    before = _path(address).read_bytes()

    def full(index: object, path: Path) -> None:
        path.write_bytes(b"half of")
        raise OSError("no room")

    monkeypatch.setattr(collection.store, "_save", full)
    for change in (
        lambda: collection.append(np.array(["new" if text else 10_000]), bundle.codes[:1]),
        lambda: collection.store.delete(bundle.ids[:9]),
    ):
        with pytest.raises(OSError, match="no room"):
            change()
        assert _path(address).read_bytes() == before
        assert collection.store.count() == len(bundle)
    name = _path(address).name
    names = {f"{name}.ids.json"} if text else set()
    assert {path.name for path in tmp_path.iterdir()} == {"out", name, f"{name}.json", f".{name}.lock", *names}
    again = Collection(open_store(address), bundle.codec, bundle.stamp)
    assert check(again, bundle, bundle.queries).passed


@pytest.mark.parametrize("place", PLACES)
def test_what_was_written_is_read_again(request: pytest.FixtureRequest, tmp_path: Path, place: str) -> None:
    bundle = code_folder(tmp_path / "out", "half")
    address = request.getfixturevalue(place)
    load(bundle, open_store(address)).store.close()
    again = Collection(open_store(address), bundle.codec, bundle.stamp)
    assert check(again, bundle, bundle.queries).passed
    again.append(np.array([10_000]), np.asarray(bundle.codes[:1]))
    third = Collection(open_store(address), bundle.codec, bundle.stamp)
    assert third.store.count() == 601
    assert {7, 10_000} <= set(third.search(planted(1).numpy(), 2, exact=True)[0].ids.tolist())


@pytest.mark.parametrize("place", PLACES)
def test_two_changes_do_not_mix(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    bundle = code_folder(tmp_path / "out", "bit")
    other = code_folder(tmp_path / "other", "half")
    address = request.getfixturevalue(place)
    first, second, late = open_store(address), open_store(address), open_store(address)
    monkeypatch.setattr("lightning_monocon.stores.store.BLOCK", 100)
    saved = first._save  # type: ignore[attr-defined]
    refusals = []

    def meanwhile(index: object, path: Path) -> None:
        for change in (lambda: load(other, second), lambda: Collection(late, bundle.codec, bundle.stamp)):
            with pytest.raises((ConnectionError, ValueError)) as caught:
                change()
            refusals.append(str(caught.value))
        saved(index, path)

    monkeypatch.setattr(first, "_save", meanwhile)
    collection = load(bundle, first)
    assert "no other process changes" in refusals[0] and "there are none under this name" in refusals[1]
    assert check(collection, bundle, bundle.queries).passed
    monkeypatch.setattr(second, "stamp", lambda: None)  # it has looked before the first one wrote
    with pytest.raises(ValueError, match="another process has written"):
        load(other, second)
    again = Collection(late, bundle.codec, bundle.stamp)
    assert check(again, bundle, bundle.queries).passed

    monkeypatch.setattr(first, "_save", lambda index, path: again.append(np.array([9_999]), bundle.codes[:1]))
    with pytest.raises(ConnectionError, match="no other process changes"):
        collection.append(np.array([10_000]), bundle.codes[:1])
    assert again.store.count() == 600


def test_an_index_file_has_no_name(tmp_path: Path, faiss_file: str) -> None:
    with pytest.raises(ValueError, match=r"`--name` must be left out for an index file.*; got 'pages'"):
        open_store(faiss_file, "pages")


@pytest.mark.parametrize("place", PLACES)
def test_inner_product_keeps_lengths(request: pytest.FixtureRequest, tmp_path: Path, place: str) -> None:
    codec = fit_scalar(FittingRows.of(planted(), "dot"), 32, OPTIONS["half"])
    bundle = code_folder(tmp_path / "out", codec)
    report = check(load(bundle, open_store(request.getfixturevalue(place))), bundle, bundle.queries)
    assert report.wrong == 0, report.example


@pytest.mark.parametrize("place", PLACES)
def test_odd_files_are_refused(request: pytest.FixtureRequest, tmp_path: Path, place: str) -> None:
    address = request.getfixturevalue(place)
    bundle = code_folder(tmp_path / "out", "bit")
    load(bundle, open_store(address))
    _path(address).write_bytes(b"short")
    with pytest.raises(ValueError, match="must be an index file as it was written"):
        open_store(address).count()
    _path(address).with_name(f"{_path(address).name}.json").unlink()
    with pytest.raises(ValueError, match="is another's"):
        load(bundle, open_store(address))


@pytest.mark.parametrize("place", PLACES)
def test_ids_that_are_text_keep_their_rows(request: pytest.FixtureRequest, tmp_path: Path, place: str) -> None:
    bundle = code_folder(tmp_path / "out", "half", text=True)
    address = request.getfixturevalue(place)
    collection = load(bundle, open_store(address))
    gone, left = bundle.ids[:9], bundle.ids[9:]
    assert collection.delete(np.array([*gone, "never there"])) == 9
    names = _path(address).with_name(f"{_path(address).name}.ids.json")
    assert json.loads(names.read_text("utf-8")).keys() == set(left.tolist())
    collection.append(np.array(["é new", gone[3]]), np.asarray(bundle.codes)[[0, 3]])
    again = Collection(open_store(address), bundle.codec, bundle.stamp)
    assert again.store.bytes() == sum(
        path.stat().st_size for path in _path(address).parent.glob(f"{_path(address).name}*")
    )
    assert again.store.count() == len(left) + 2
    held = [*left, "é new", gone[3]]
    codes = np.concatenate([np.asarray(bundle.codes)[9:], np.asarray(bundle.codes)[[0, 3]]])
    np.testing.assert_array_equal(
        again.column.codes(again.store.fetch(again.column, np.array(held)[::-1])), again.column.codes(
            collection.store.fetch(collection.column, np.array(held)))[::-1],
    )  # fmt: skip
    own = bundle.codec.score(bundle.queries, codes)
    for answers, scores in zip(again.search(bundle.queries, 10, exact=True), own, strict=True):
        assert np.allclose(scores[[held.index(one) for one in answers.ids]], np.sort(scores)[-10:][::-1], atol=2e-3)
    with pytest.raises(ValueError, match=r"would have one as é new twice"):
        again.append(np.array(["é new"]), np.asarray(bundle.codes)[:1])


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_rows_that_went_after_they_were_found_are_told(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, text: bool
) -> None:
    bundle = code_folder(tmp_path / "out", "bit", text=text)
    address = request.getfixturevalue(place)
    collection = load(bundle, open_store(address))
    collection.delete(bundle.ids[:1])
    with pytest.raises(ConnectionError, match="lost rows that were just found: ask again"):
        collection.store.fetch(collection.column, bundle.ids[:2])


@pytest.mark.parametrize("place", PLACES)
def test_rows_without_a_name_are_refused(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    bundle = code_folder(tmp_path / "out", "bit", text=True)
    address = request.getfixturevalue(place)
    collection = load(bundle, open_store(address))
    names = _path(address).with_name(f"{_path(address).name}.ids.json")
    whole = names.read_bytes()
    for text in (whole[:50], b'["a"]', b'{"a": "b"}', None):
        names.unlink() if text is None else names.write_bytes(text)
        with pytest.raises(ValueError, match="which names its rows, is missing or damaged"):
            open_store(address).count()
    names.write_text('{"a": 0}')
    with pytest.raises(ValueError, match="has rows without an id in the file beside it"):
        open_store(address).count()

    names.write_bytes(whole)
    reader = Collection(open_store(address), bundle.codec, bundle.stamp)
    opened, meanwhile = reader.store._open, iter([lambda: collection.delete(bundle.ids[:9])])  # type: ignore[attr-defined]

    def slowly(path: Path, kind: str) -> object:
        found = opened(path, kind)
        next(meanwhile, lambda: 0)()  # between the index and the ids of a reader another process changes both
        return found

    monkeypatch.setattr(reader.store, "_open", slowly)
    assert reader.store.count() == len(bundle) - 9
