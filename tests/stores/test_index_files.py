# SPDX-License-Identifier: Apache-2.0
"""Tests of what only index files have: two files, one of which may be missing, and a change that writes both anew."""

from __future__ import annotations

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


@pytest.mark.parametrize("place", PLACES)
def test_failed_change_leaves_the_file(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    bundle = code_folder(tmp_path / "out", "bit")
    address = request.getfixturevalue(place)
    collection = load(bundle, open_store(address))
    before = _path(address).read_bytes()

    def full(index: object, path: Path) -> None:
        path.write_bytes(b"half of")
        raise OSError("no room")

    monkeypatch.setattr(collection.store, "_save", full)
    for change in (
        lambda: collection.append(np.array([10_000]), bundle.codes[:1]),
        lambda: collection.store.delete(bundle.ids[:9]),
    ):
        with pytest.raises(OSError, match="no room"):
            change()
        assert _path(address).read_bytes() == before
        assert collection.store.count() == len(bundle)
    name = _path(address).name
    assert {path.name for path in tmp_path.iterdir()} == {"out", name, f"{name}.json", f".{name}.lock"}


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
    with pytest.raises(ValueError, match="must hold ids that are integers"):
        load(code_folder(tmp_path / "text", "bit", text=True), open_store(address))
    assert not _path(address).exists()
    bundle = code_folder(tmp_path / "out", "bit")
    load(bundle, open_store(address))
    _path(address).write_bytes(b"short")
    with pytest.raises(ValueError, match="must be an index file as it was written"):
        open_store(address).count()
    _path(address).with_name(f"{_path(address).name}.json").unlink()
    with pytest.raises(ValueError, match="is another's"):
        load(bundle, open_store(address))
