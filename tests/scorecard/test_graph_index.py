# SPDX-License-Identifier: Apache-2.0
"""What graphs find, against exact searches by NumPy and planted manifolds."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, as_json, as_text, graph_index
from lightning_monocon.scorecard.graph_index import FOUND, MOST_QUERIES, SEARCH, graph_searches
from lightning_monocon.scorecard.scoring import scorecard_of, with_graphs

Rows = NDArray[np.int64]


def on_a_sphere(rows: int, dim: int, width: int, seed: int) -> Tensor:
    """Directions on a sphere of ``dim`` dimensions, in one basis of ``width`` whatever the seed."""
    points = np.random.default_rng(seed).standard_normal((rows, dim + 1))
    basis = np.linalg.qr(np.random.default_rng(99).standard_normal((width, dim + 1)))[0]
    return torch.from_numpy(points @ basis.T).float()


@pytest.fixture(scope="module")
def data() -> EmbeddingSet:
    return EmbeddingSet(on_a_sphere(1500, 3, 12, 0), None, on_a_sphere(200, 3, 12, 1), arm="planted")


def exactly(gallery: NDArray[np.float32], worst: int = 0) -> Callable[[NDArray[np.float32], int], Rows]:
    """An exact search by scikit-learn that gives the farthest rows of all in the last ``worst`` places."""
    index = NearestNeighbors(n_neighbors=FOUND - worst).fit(gallery)

    def search(query: NDArray[np.float32], ef: int) -> Rows:
        return np.hstack([index.kneighbors(query)[1], np.argsort(query @ gallery.T)[:, :worst]])

    return search


@pytest.mark.parametrize("tile", [8192, 100, 7])
def test_a_share_is_that_of_the_exact_answer(data: EmbeddingSet, monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    monkeypatch.setattr(graph_index, "_TILE", tile)
    monkeypatch.setattr(graph_index, "library_graphs", lambda g: [("all", exactly(g)), ("seven", exactly(g, worst=3))])
    whole, small = graph_searches(data, [2])
    assert (whole.arm, whole.k, small.k, whole.ef) == ("planted", 12, 2, SEARCH)
    for search in (whole, small):  # an exact search among the cut vectors finds all of them, too
        assert search.recall["all"] == pytest.approx((1.0,) * len(SEARCH))
        assert search.recall["seven"] == pytest.approx((0.7,) * len(SEARCH))


def test_any_ten_of_twenty_copies_are_right(data: EmbeddingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def others(gallery: NDArray[np.float32]) -> Callable[[NDArray[np.float32], int], Rows]:
        nearest = exactly(gallery[:50])
        return lambda query, ef: nearest(query, ef)[:, :1] + 50 * np.arange(10, 20)

    monkeypatch.setattr(graph_index, "library_graphs", lambda gallery: [("copies", others(gallery))])
    copied = EmbeddingSet(data.gallery[:50].repeat(20, 1), None, data.query)
    assert graph_searches(copied, [])[0].recall["copies"] == pytest.approx((1.0,) * len(SEARCH))


def test_the_local_dimension_is_that_of_the_planted_sphere(data: EmbeddingSet) -> None:
    whole, small = graph_searches(data, [3])
    assert whole.local_dimension == pytest.approx(3.0, rel=0.1)
    assert small.local_dimension == pytest.approx(2.0, rel=0.1)  # unit rows of three numbers


def test_graphs_of_the_libraries_find_more_with_more_candidates_and_fewer_dimensions() -> None:
    data = EmbeddingSet(on_a_sphere(2000, 23, 24, 0), None, on_a_sphere(100, 23, 24, 1))
    whole, small = graph_searches(data, [8])
    assert [library.split()[0] for library in whole.recall] == ["FAISS", "usearch", "hnswlib"][: len(whole.recall)]
    for found, fewer in zip(whole.recall.values(), small.recall.values(), strict=True):
        assert 0.3 < found[0] < found[1] < found[2] < found[-1]
        assert found[-1] > 0.99
        assert fewer[0] > found[0]
    assert graph_searches(data, [8]) == (whole, small)


def test_a_card_says_from_how_many_candidates_on_a_graph_suffices(data: EmbeddingSet) -> None:
    card = with_graphs(scorecard_of(data, dims=(2, 12)), [data])
    assert [search.k for search in card.graphs] == [12, card.size_of(card.arms[0])]
    text = " ".join(as_text(card).split())
    assert "Searched by a graph" in text
    assert f"planted in 12 numbers: 99 % of the nearest rows are found from ef = {first(card.graphs[0])} on in" in text
    assert f"The local dimension is {card.graphs[0].local_dimension:.1f}." in text
    plain = json.loads(json.dumps(as_json(card), allow_nan=False))["graphs"]
    assert [one["recall"] for one in plain] == [
        {name: list(found) for name, found in search.recall.items()} for search in card.graphs
    ]
    assert "Searched by a graph" not in as_text(scorecard_of(data, dims=(2, 12)))


def first(search: graph_index.GraphSearch) -> int:
    found = next(iter(search.recall.values()))
    return SEARCH[int(np.argmax(np.array(found) >= 0.99))]


def test_rows_that_are_all_equal_have_no_dimension_and_are_all_found(data: EmbeddingSet) -> None:
    labels = torch.arange(50) % 2
    flat = EmbeddingSet(torch.ones(50, 4), labels, torch.ones(MOST_QUERIES + 50, 4), labels.repeat(21))
    card = with_graphs(scorecard_of(flat), [flat])
    assert [set(search.recall.values()) for search in card.graphs] == [{(1.0,) * len(SEARCH)}] * 2
    assert as_json(card)["graphs"][0]["local_dimension"] is None
    assert "embeddings in 1 number: 99 % of the nearest rows are found from ef = 10 on" in " ".join(
        as_text(card).split()
    )


def test_a_small_gallery_is_asked_for_its_rows_and_rows_that_do_not_come_are_not_found() -> None:
    data = EmbeddingSet(on_a_sphere(7, 3, 12, 0), None, on_a_sphere(1, 3, 12, 1), arm="few")
    card = with_graphs(scorecard_of(data, dims=(2, 12)), [data])
    assert [search.nearest for search in card.graphs] == [7] * len(card.graphs)
    assert all(found == (1.0,) * len(SEARCH) for search in card.graphs for found in search.recall.values())
    text = " ".join(as_text(card).split())
    assert "the share of the 7 nearest rows" in text and "10 nearest rows" not in text
    three = [("three", lambda query, ef: np.array([[0, -1, 1, -1, 2, -1, -1]] * len(query)))]
    assert graph_searches(data, [], lambda gallery: iter(three))[0].recall["three"] == pytest.approx((3 / 7,) * 6)


def test_a_missing_library_is_named_with_its_extra(data: EmbeddingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_index, "find_spec", lambda name: None if name == "usearch" else object())
    with pytest.raises(ImportError, match=r"usearch is missing: pip install 'lightning-monocon\[search\]'\.$"):
        graph_searches(data, [])


def test_hnswlib_is_measured_where_it_is_installed(data: EmbeddingSet) -> None:
    pytest.importorskip("hnswlib", reason="hnswlib has no wheel on PyPI, and a compiler is not always there")
    (whole,) = graph_searches(data, [data.dim])
    name = next(name for name in whole.recall if name.startswith("hnswlib "))
    assert whole.recall[name][-1] > 0.99 and whole.recall[name][0] <= whole.recall[name][-1]
    first, again = (graph_searches(data, [data.dim])[0].recall[name] for _ in range(2))
    assert first == again
    few = EmbeddingSet(data.gallery[:6], None, data.query[:5], arm="few")
    assert graph_searches(few, [few.dim])[0].recall[name][-1] == 1.0
