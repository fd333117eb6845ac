# SPDX-License-Identifier: Apache-2.0
"""The tiled search against scikit-learn's brute force in float64, and the scores made of it."""

from __future__ import annotations

import sys
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor

from lightning_monocon.functional import knn_accuracy, neighbour_scores, neighbours, recall_at_k
from lightning_monocon.functional.knn_accuracy import majority_vote
from lightning_monocon.metrics import NeighbourScores, RecallAtK
from lightning_monocon.metrics.labelled import LabelledMetric

Name = Literal["cosine", "euclidean"]
search = sys.modules[neighbours.__module__]


def clusters(rows: int, width: int, classes: int = 5, *, offset: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    return centres[labels] + 1.5 * torch.randn(rows, width, generator=generator) + offset, labels


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"_QUERY_TILE": 37, "_GALLERY_TILE": 101, "_CACHED_ENTRIES": 999, "_EXACT_QUERIES": 3}.items():
        monkeypatch.setattr(search, name, size)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 13])
def test_distances_equal_scikit_learn(k: int, metric: Name, offset: float, dtype: torch.dtype) -> None:
    gallery, query = clusters(400, 8, offset=offset)[0].to(dtype), clusters(90, 8, offset=offset, seed=1)[0].to(dtype)
    truth = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(gallery.double().numpy())
    distances, _ = truth.kneighbors(query.double().numpy())
    # Indices may differ where half precision makes equal rows; distances may not.
    np.testing.assert_allclose(
        neighbours(gallery, query, k, metric).distances, distances, rtol=1e-6, atol=1e-12 * (1 + offset)
    )


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_indices_equal_scikit_learn_whatever_scale_and_offset(offset: float, scale: float, metric: Name) -> None:
    gallery, query = (x.double() for x, _ in (clusters(500, 16), clusters(60, 16, seed=1)))
    gallery, query = (gallery + offset) * scale, (query + offset) * scale
    truth = NearestNeighbors(n_neighbors=7, metric="euclidean", algorithm="kd_tree")
    shown = (gallery / gallery.norm(dim=1, keepdim=True), query / query.norm(dim=1, keepdim=True))
    rows, asked = shown if metric == "cosine" else (gallery / scale, query / scale)
    indices = truth.fit(rows.numpy()).kneighbors(asked.numpy(), return_distance=False)
    np.testing.assert_array_equal(neighbours(gallery, query, 7, metric).indices, indices)


@pytest.mark.usefixtures("small_tiles")
def test_equal_distances_are_ordered_by_the_smaller_index() -> None:
    gallery = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(200, 1)
    found = neighbours(gallery, torch.tensor([[1.0, 0.1], [0.1, 1.0]]), k=4)
    assert found.indices.tolist() == [[1, 3, 5, 7], [0, 2, 4, 6]]
    alike = neighbours(torch.ones(300, 3), torch.rand(40, 3, generator=torch.Generator().manual_seed(0)), k=3)
    assert alike.indices.tolist() == [[0, 1, 2]] * 40


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_without_a_query_each_row_finds_the_others(metric: Name) -> None:
    gallery = clusters(150, 6)[0].double()
    truth = NearestNeighbors(n_neighbors=4, metric=metric, algorithm="brute").fit(gallery.numpy())
    distances, indices = truth.kneighbors()
    found = neighbours(gallery, None, 4, metric)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, atol=1e-12)
    twice = torch.cat([gallery, gallery])
    assert torch.equal(neighbours(twice, None, 1, metric).indices[:150, 0], torch.arange(150, 300))


def test_rows_of_zeros_have_cosine_zero() -> None:
    gallery = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]])
    found = neighbours(gallery, torch.tensor([[1.0, 0.0]]), k=4)
    assert found.indices.tolist() == [[1, 3, 0, 2]]
    torch.testing.assert_close(
        found.distances[0], torch.tensor([0.0, 0.4, 1.0, 2.0], dtype=torch.float64), rtol=1e-6, atol=1e-7
    )


@pytest.mark.usefixtures("small_tiles")
def test_many_rows_of_zeros_push_no_neighbour_out() -> None:
    generator = torch.Generator().manual_seed(0)
    gallery = torch.randn(400, 30, generator=generator)
    gallery[::4] = 0.0  # as near as a cosine of 1/2, were it not for the penalty; the others have less
    query = torch.randn(50, 30, generator=generator)
    truth = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(gallery.double().numpy())
    np.testing.assert_array_equal(neighbours(gallery, query).indices, truth.kneighbors(query.double().numpy())[1])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_accuracy_equals_scikit_learn(k: int, metric: Name) -> None:
    (gallery, known), (query, truth) = clusters(300, 6), clusters(200, 6, seed=1)
    model = KNeighborsClassifier(k, metric=metric, algorithm="brute").fit(gallery.double().numpy(), known.numpy())
    expected = model.score(query.double().numpy(), truth.numpy())
    assert 0.3 < expected < 1.0
    assert knn_accuracy(gallery, known, query, truth, k, metric) == pytest.approx(expected, abs=1e-12)


def test_recall_counts_any_label_among_the_first_k() -> None:
    (gallery, known), (query, truth) = clusters(300, 6), clusters(200, 6, seed=1)
    cosines = (query / query.norm(dim=1, keepdim=True)) @ (gallery / gallery.norm(dim=1, keepdim=True)).T
    ranked = known[cosines.argsort(dim=1, descending=True)]
    found = recall_at_k(gallery, known, query, truth, k=(1, 3, 7))
    assert list(found) == [1, 3, 7]
    for k, value in found.items():
        assert value == (ranked[:, :k] == truth[:, None]).any(1).double().mean()


def test_one_k_may_be_a_number() -> None:
    (gallery, known), (query, truth) = clusters(60, 6), clusters(40, 6, seed=1)
    assert recall_at_k(gallery, known, query, truth, k=3) == recall_at_k(gallery, known, query, truth, k=(3,))
    scores = neighbour_scores(gallery, known, query, truth, k=5, recall_k=3)
    assert scores == neighbour_scores(gallery, known, query, truth, k=5, recall_k=[3])
    recalls, both = (RecallAtK(k=3), RecallAtK(k=[3])), (NeighbourScores(recall_k=3), NeighbourScores(5, (3,)))
    for metric, several in (recalls, both):
        for one in (metric, several):
            one.update(gallery, known, "gallery")
            one.update(query, truth, "query")
        assert metric.compute() == several.compute()


@pytest.mark.parametrize(("words", "expected"), [("1", (1,)), ("[1, 5]", (1, 5))])
def test_a_recipe_may_give_a_number_or_a_list(words: str, expected: tuple[int, ...]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LabelledMetric, "metric")
    name = f"{RecallAtK.__module__}.{RecallAtK.__qualname__}"
    parsed = parser.parse_args([f"--metric={name}", f"--metric.k={words}"])
    assert RecallAtK(k=parsed.metric.init_args.k).k == expected


@pytest.mark.parametrize("k", [0, -1, True, 1.0, None, (), (0,), (1, 1.5)], ids=str)
def test_k_that_is_no_number_of_neighbours(k: Any) -> None:
    with pytest.raises(ValueError, match="`k` must be a positive integer or hold distinct ones, such as"):
        RecallAtK(k=k)


def test_one_search_gives_all_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    (gallery, known), (query, truth) = clusters(300, 6), clusters(200, 6, seed=1)
    tiles: list[int] = []
    count = search._candidates
    monkeypatch.setattr(search, "_candidates", lambda *args: tiles.append(1) or count(*args))
    scores = neighbour_scores(gallery, known, query, truth, k=5, recall_k=(1, 7))
    assert len(tiles) == 1  # 200 queries are one tile
    assert scores["knn_accuracy"] == knn_accuracy(gallery, known, query, truth, 5)
    assert scores["recall@7"] == recall_at_k(gallery, known, query, truth, (7,))[7]


def test_the_smallest_of_equally_frequent_labels_wins() -> None:
    assert majority_vote(torch.tensor([[3, 1, 3, 1, 2], [7, 5, 6, 9, 8], [-4, 2, -4, 2, 2]])).tolist() == [1, 5, 2]


def test_wrong_input_is_named() -> None:
    (gallery, known), (query, truth) = clusters(20, 3), clusters(9, 3, seed=1)
    with pytest.raises(
        TypeError, match="`gallery_labels` must be an integer tensor, one label per embedding; got None"
    ):
        knn_accuracy(gallery, None, query, truth)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`query_labels` must be integers; got torch[.]float32"):
        knn_accuracy(gallery, known, query, truth.float())
    with pytest.raises(ValueError, match=r"`query_labels` must hold 9 integers, one per embedding; got shape \(8,\)"):
        recall_at_k(gallery, known, query, truth[:8])
    with pytest.raises(ValueError, match="`gallery_labels` must hold at least two classes; all 20 are 0"):
        knn_accuracy(gallery, known * 0, query, truth)
    with pytest.raises(ValueError, match="`k` must be an integer from 1 to 20, the rows of the gallery; got 21"):
        neighbours(gallery, query, k=21)
    with pytest.raises(ValueError, match="`k` must be an integer from 1 to 19, the rows of the gallery; got 20"):
        neighbours(gallery, None, k=20)
    with pytest.raises(ValueError, match="`metric` must be one of 'cosine', 'euclidean'; got 'dot'"):
        neighbours(gallery, query, metric="dot")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"`k` must be a positive integer or hold distinct ones, such as \(1, 5\); got \(1, 1\)"
    ):
        recall_at_k(gallery, known, query, truth, k=(1, 1))
    with pytest.raises(ValueError, match="`query` must be finite; 1 of 9 rows hold NaN or Inf"):
        neighbours(gallery, query.index_fill(0, torch.tensor([2]), torch.nan))
    with pytest.raises(ValueError, match="`query` must have 3 features like the rows before; got 2"):
        neighbours(gallery, query[:, :2])


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("width", [1, 3, 6])
def test_equal_distances_begin_at_each_querys_own_row(width: int) -> None:
    signs = torch.randn(290, width, generator=torch.Generator().manual_seed(0)).sign()
    gallery, query = signs[:250], signs[250:]
    first = torch.randint(250, (40,), generator=torch.Generator().manual_seed(1))
    found = neighbours(gallery, query, 9, "euclidean", first=first)
    distances = (query.numpy()[:, None] != gallery.numpy()[None]).sum(2)
    for q, (line, start) in enumerate(zip(found.indices, first, strict=True)):
        places = (np.arange(250) - int(start)) % 250
        np.testing.assert_array_equal(line.numpy(), np.lexsort((places, distances[q]))[:9])
