# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from torch import Tensor

from lightning_monocon.functional.truncation_curve import truncation_curve
from lightning_monocon.scorecard import EmbeddingSet, measure_frontier
from lightning_monocon.scorecard.frontier import default_dims, numerical_rank

Digits = tuple[Tensor, Tensor, Tensor, Tensor]


def accuracies(gallery: np.ndarray, labels: Tensor, query: np.ndarray, truth: Tensor) -> tuple[float, float]:
    scores = []
    for k in (5, 1):
        voters = KNeighborsClassifier(n_neighbors=k, metric="cosine", algorithm="brute").fit(gallery, labels.numpy())
        scores.append(float(voters.score(query, truth.numpy())))
    return scores[0], scores[1]


@pytest.mark.parametrize("k", [2, 3, 8, 24, 61])
def test_kept_dimensions_agree_with_scikit_learn(k: int, digits: Digits) -> None:
    gallery, labels, query, truth = digits
    rows = [normalize(part.double().numpy()) for part in (gallery, query)]
    pca = PCA(n_components=k, svd_solver="full").fit(rows[0])
    expected = accuracies(pca.transform(rows[0]), labels, pca.transform(rows[1]), truth)
    line = measure_frontier(EmbeddingSet(gallery, labels, query, truth), dims=[k])
    # One query of 597 may change sides where two neighbours are equally near in float32.
    np.testing.assert_allclose((line.knn_accuracy[0], line.recall_at_1[0]), expected, atol=1.01 / len(truth))


def test_the_frontier_is_the_truncation_curve_of_the_metrics(digits: Digits) -> None:
    line = measure_frontier(EmbeddingSet(*digits), dims=[2, 6, 24, 64])
    curve = truncation_curve(*digits, dims=line.dims)
    for k, vote, recall in zip(line.dims, line.knn_accuracy, line.recall_at_1, strict=True):
        slack = 0.0 if k == 64 else 1.01 / len(digits[3])  # cut, the scorecard searches in float32
        assert vote == pytest.approx(float(curve[k]["knn_accuracy"]), abs=slack + 1e-12)
        assert recall == pytest.approx(float(curve[k]["recall@1"]), abs=slack + 1e-12)


def test_the_full_width_is_left_as_it_is(digits: Digits) -> None:
    gallery, labels, query, truth = digits
    line = measure_frontier(EmbeddingSet(gallery, labels, query, truth), dims=[64])
    expected = accuracies(gallery.numpy(), labels, query.numpy(), truth)
    np.testing.assert_allclose((line.knn_accuracy[0], line.recall_at_1[0]), expected, atol=1e-12)


def test_recall_counts_a_label_anywhere_among_the_nearest(digits: Digits) -> None:
    gallery, labels, query, truth = digits
    line = measure_frontier(EmbeddingSet(gallery, labels, query, truth), dims=[64])
    similarity = normalize(query.numpy()) @ normalize(gallery.numpy()).T
    order = np.argsort(-similarity, axis=1)
    for r, share in line.recall[0].items():
        within = (labels.numpy()[order[:, :r]] == truth.numpy()[:, None]).any(1)
        assert share == pytest.approx(within.mean(), abs=1e-12), r


def test_by_default_the_dimensions_stop_at_the_rank_and_at_full_width(digits: Digits) -> None:
    line = measure_frontier(EmbeddingSet(*digits))  # three pixels never vary
    assert line.dims == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    gallery, labels, query, truth = digits
    thin = measure_frontier(EmbeddingSet(gallery[:, 20:23].repeat(1, 4), labels, query[:, 20:23].repeat(1, 4), truth))
    assert thin.dims == (1, 2, 3, 12)


def test_a_budget_beyond_the_width_is_met_with_all_there_is(digits: Digits) -> None:
    line = measure_frontier(EmbeddingSet(*digits), dims=[2, 4, 64])
    assert [line.index(k) for k in (2, 3, 4, 63, 64, 1000)] == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match=r"`budget` must be at least 2, the fewest dimensions measured; got 1"):
        line.index(1)


def test_rotation_and_scale_change_nothing(digits: Digits) -> None:
    gallery, labels, query, truth = (part.double() if part.is_floating_point() else part for part in digits)
    turn = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    straight = measure_frontier(EmbeddingSet(gallery, labels, query, truth), dims=[4, 16])
    turned = measure_frontier(EmbeddingSet(7 * gallery @ turn, labels, 7 * query @ turn, truth), dims=[4, 16])
    assert straight.knn_accuracy == turned.knn_accuracy


@pytest.mark.parametrize(
    ("dims", "sentence"),
    [
        ([0, 4], r"`dims` must be numbers of dimensions from 1 to 64, the width; got \[0\]"),
        ([65], r"`dims` must be numbers of dimensions from 1 to 64, the width; got \[65\]"),
        ([], r"`dims` must be numbers of dimensions from 1 to 64, the width; got none"),
        ([8, 62, 63], r"`dims` must not exceed 61, the gallery's rank: .*; got \[62, 63\]"),
    ],
)
def test_dimensions_that_do_not_exist_are_refused(dims: list[int], sentence: str, digits: Digits) -> None:
    with pytest.raises(ValueError, match=sentence):
        measure_frontier(EmbeddingSet(*digits), dims=dims)


def test_rank_ignores_rounding() -> None:
    assert numerical_rank(torch.tensor([0.5, 1e-3, 1e-9, 1e-16, 0.0], dtype=torch.float64)) == 3


@pytest.mark.parametrize(("width", "expected"), [(1, (1,)), (2, (1, 2)), (7, (1, 2, 3, 4, 6, 7))])
def test_default_dims_end_at_the_width(width: int, expected: tuple[int, ...]) -> None:
    assert default_dims(width) == expected


def test_prefixes_are_read_as_they_are(digits: Digits) -> None:
    turn = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))  # four pixels alone are all ties
    gallery, labels, query, truth = (part @ turn if part.is_floating_point() else part for part in digits)
    line = measure_frontier(EmbeddingSet(gallery, labels, query, truth, reading="prefix"), dims=[4, 24, 64])
    assert line.dims == (4, 24, 64)
    for i, k in enumerate(line.dims):
        expected = accuracies(gallery[:, :k].numpy(), labels, query[:, :k].numpy(), truth)
        found = (line.knn_accuracy[i], line.recall_at_1[i])
        np.testing.assert_allclose(found, expected, atol=2.01 / len(truth), err_msg=f"k = {k}")  # float32 ties


def test_how_vectors_are_cut_travels_with_the_file(digits: Digits, tmp_path: Path) -> None:
    path = EmbeddingSet(*digits, reading="prefix").save(tmp_path / "e.safetensors")
    assert EmbeddingSet.load(path).reading == "prefix"
    assert EmbeddingSet(*digits).reading == "pca"
    with pytest.raises(ValueError, match="`reading` must be one of 'pca', 'prefix'; got 'random'"):
        EmbeddingSet(*digits, reading="random")
