# SPDX-License-Identifier: Apache-2.0
"""Tests of every store against real engines: answers are the codec's own, and a failure leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.code_folders import OPTIONS, code_folder, planted
from helpers.store_places import KINDS

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families import ScalarOptions, fit_product, fit_scalar
from lightning_monocon.stores import Bundle, Collection, check, load, open_store

TEXT = [(place, kind, text) for place, kind in KINDS for text in (False, True)]

MOST_BYTES = {"duck": 3_000, "shards": 3_000}
"""What 600 rows take at most where a store sets files and blocks aside."""


@pytest.mark.parametrize(("place", "kind", "text"), TEXT)
def test_store_ranks_as_the_codec(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str, text: bool
) -> None:
    bundle = code_folder(tmp_path / "out", kind, text=text)
    collection = load(bundle, open_store(request.getfixturevalue(place)))
    report = check(collection, bundle, bundle.queries, k=10, shortlist=100)
    assert report.wrong == 0, report.example
    assert report.overlap > (0.99 if kind == "half" else 0.9)
    assert collection.store.count() == len(bundle)
    assert bundle.codec.bytes_per_vector < report.bytes_per_row < MOST_BYTES.get(place, 600)
    collection.store.close()


@pytest.mark.parametrize(("place", "kind"), KINDS)
def test_rescored_answers_are_exact_with_a_shortlist_of_all_rows(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str
) -> None:
    bundle = code_folder(tmp_path / "out", kind)
    collection = load(bundle, open_store(request.getfixturevalue(place)))
    found = collection.search(bundle.queries, 10, shortlist=len(bundle), exact=True)
    own = bundle.codec.score(bundle.queries, np.asarray(bundle.codes))
    for answers, scores in zip(found, own, strict=True):
        places = (answers.ids - 7) // 3
        assert np.allclose(np.sort(scores)[-10:][::-1], scores[places], atol=2e-3 if kind == "half" else 0)
    collection.store.close()


@pytest.mark.parametrize("place", [place for place, kind in KINDS if kind == "half"])
def test_queries_beyond_float16_are_answered(request: pytest.FixtureRequest, tmp_path: Path, place: str) -> None:
    bundle = code_folder(tmp_path / "out", fit_scalar(FittingRows.of(planted(), "dot"), 16, OPTIONS["half"]))
    collection = load(bundle, open_store(request.getfixturevalue(place)))
    scores = bundle.codec.score(bundle.queries[:4], np.asarray(bundle.codes))
    for length in (1e-9, 1e7):
        found = collection.search(bundle.queries[:4] * np.float32(length), 10, exact=True)
        for answers, own in zip(found, scores, strict=True):
            assert np.allclose(own[(answers.ids - 7) // 3], np.sort(own)[-10:][::-1], atol=4e-3 * np.abs(own).max())
    collection.store.close()


@pytest.mark.parametrize(("place", "kind"), KINDS)
def test_a_swapped_row_is_found(request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str) -> None:
    bundle = code_folder(tmp_path / "out", kind)
    store = open_store(request.getfixturevalue(place))
    wrong = Bundle(bundle.folder, bundle.codec, bundle.stamp, bundle.codes[::-1], bundle.ids, bundle.queries)
    collection = load(wrong, store)
    assert check(collection, bundle, bundle.queries).wrong > 30
    store.close()


@pytest.mark.parametrize(("place", "kind"), KINDS)
def test_failure_in_the_middle_leaves_the_store_as_it_was(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = code_folder(tmp_path / "out", kind)
    monkeypatch.setattr("lightning_monocon.stores.store.BLOCK", 100)
    twice = np.concatenate([bundle.ids[:-1], bundle.ids[:1]])
    broken = Bundle(bundle.folder, bundle.codec, bundle.stamp, bundle.codes, twice, bundle.queries)
    store = open_store(request.getfixturevalue(place))
    with pytest.raises(ValueError, match="ids that the store has not"):
        load(broken, store)
    assert store.stamp() is None
    assert _left(tmp_path) == ["out"]
    load(bundle, store)
    store.close()


@pytest.mark.parametrize(("place", "kind"), KINDS)
def test_other_spaces_and_taken_names_are_refused(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str
) -> None:
    bundle = code_folder(tmp_path / "out", kind)
    other = code_folder(tmp_path / "other", fit_scalar(FittingRows.of(planted(seed=5)), 16, OPTIONS[kind]))
    store = open_store(request.getfixturevalue(place))
    with pytest.raises(ValueError, match="there are none under this name"):
        Collection(store, bundle.codec, bundle.stamp)
    load(bundle, store)
    option = "--name` must be free" if store.named else "--into` must be free"
    with pytest.raises(ValueError, match=rf"`{option}; .* has 600 rows of the same codec"):
        load(bundle, store)
    with pytest.raises(ValueError, match="use the codec that encoded them"):
        Collection(store, other.codec, other.stamp)
    store.close()


@pytest.mark.parametrize("place", ["database", "file", "duck", "lance", "shards"])
def test_codes_without_a_column_are_refused_and_nothing_is_written(
    request: pytest.FixtureRequest, tmp_path: Path, place: str
) -> None:
    store = open_store(request.getfixturevalue(place))
    rows = FittingRows.of(planted())
    product = code_folder(tmp_path / "product", fit_product(rows, 4))
    with pytest.raises(ValueError, match=r"product-4.* stands for numbers only through its own tables. Take .*codes"):
        load(product, store)
    centred = code_folder(tmp_path / "half", fit_scalar(rows, 16, ScalarOptions(16)))
    with pytest.raises(ValueError, match="puts the mean back when it scores"):
        load(centred, store)
    assert store.stamp() is None
    store.close()
    assert _left(tmp_path) == ["half", "product"]


def _left(folder: Path) -> list[str]:
    """Return what lies in a folder, without locks, which processes share and which nobody removes."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))
