# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from torch import Tensor

from lightning_monocon.codes.families import random_rotation
from lightning_monocon.functional import principal_components
from lightning_monocon.functional.truncation_curve import projected, truncation_curve
from lightning_monocon.scorecard import EmbeddingSet, measure, measure_frontier
from lightning_monocon.scorecard.frontier import default_dims, measure_rounded

Planted = Callable[..., EmbeddingSet]
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
    np.testing.assert_allclose((line.knn_accuracy[0], line.recall_at_1[0]), expected, atol=1e-12)


def test_the_frontier_is_the_truncation_curve_of_the_metrics(digits: Digits) -> None:
    line = measure_frontier(EmbeddingSet(*digits), dims=range(1, 62))
    curve = truncation_curve(*digits, dims=line.dims)
    assert line.knn_accuracy == tuple(float(scores["knn_accuracy"]) for scores in curve.values())
    assert line.recall_at_1 == tuple(float(scores["recall@1"]) for scores in curve.values())


def test_the_order_of_the_rows_changes_nothing_and_favours_no_label(digits: Digits) -> None:
    gallery, labels, query, truth = digits
    basis = principal_components(gallery)
    by_label, turned = labels.argsort(stable=True), torch.arange(len(truth)).flip(0)
    given = EmbeddingSet(gallery, labels, query, truth)
    ordered = EmbeddingSet(gallery[by_label], labels[by_label], query[turned], truth[turned])
    for measured in (
        lambda data: measure_frontier(data, (1, 2, 8), basis),
        lambda data: measure_rounded(data, "int8", basis),
        lambda data: measure_rounded(data, "binary", basis),
    ):
        torch.testing.assert_close(measured(ordered).knn_hits, measured(given).knn_hits[:, turned], rtol=0, atol=0)
        assert measured(ordered).recall == measured(given).recall

    # In one dimension a query can only guess among the rows of its own side.
    sides = [
        (part.double() / part.double().norm(dim=1, keepdim=True) - basis.mean) @ basis.components[0] > 0
        for part in (gallery, query)
    ]
    guess = [
        float((labels[sides[0] == side] == label).double().mean()) for side, label in zip(sides[1], truth, strict=True)
    ]
    expected, deviation = np.mean(guess), np.sqrt(np.sum(np.multiply(guess, np.subtract(1, guess)))) / len(guess)
    assert measure_frontier(ordered, (1,)).recall_at_1[0] == pytest.approx(expected, abs=3 * deviation)


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
    assert line.dims == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 61, 64)
    gallery, labels, query, truth = digits
    thin = measure_frontier(EmbeddingSet(gallery[:, 20:23].repeat(1, 4), labels, query[:, 20:23].repeat(1, 4), truth))
    assert thin.dims == (1, 2, 3, 12)


def test_an_arm_of_low_rank_competes_with_all_it_has(planted: Callable[..., EmbeddingSet]) -> None:
    """Rank 11 in 64: at 12 dimensions and more it keeps 11, not the 8 that the usual sizes hold below."""
    line = measure_frontier(planted(dim=64, rank=11))
    assert line.dims == (1, 2, 3, 4, 6, 8, 11, 64)
    assert [line.dims[line.index(k)] for k in (8, 11, 12, 48, 64)] == [8, 11, 11, 11, 64]


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


def test_int8_agrees_with_a_search_over_the_integers(digits: Digits) -> None:
    gallery, labels, query, truth = digits
    rows = [normalize(part.double().numpy()) for part in (gallery, query)]
    pca = PCA(svd_solver="full").fit(rows[0])
    scores = [pca.transform(part) for part in rows]
    step = np.abs(scores[0]).max(0) / 127
    line = measure_rounded(EmbeddingSet(*digits), "int8", principal_components(gallery))
    assert line.bytes == line.dims == (1, 2, 4, 8, 16, 32, 61)  # the rank
    for k, found in list(zip(line.dims, line.knn_accuracy, strict=True))[2:]:
        stored = [np.clip(np.rint(part[:, :k] / step[:k]), -127, 127) * step[:k] for part in scores]
        voters = KNeighborsClassifier(5, metric="cosine", algorithm="brute").fit(stored[0], labels.numpy())
        # float32 coordinates on the edge of a step may round the other way
        assert found == pytest.approx(voters.score(stored[1], truth.numpy()), abs=2.01 / len(truth)), k


def test_binary_ranks_by_hamming_distance(planted: Planted) -> None:
    data = planted(rank=32, dim=32, noise=0.3)
    basis = principal_components(data.gallery)
    line = measure_rounded(data, "binary", basis)
    assert (line.dims, line.bytes) == ((8, 16, 32), (1, 2, 4))
    unit = [normalize(part.double().numpy()) for part in (data.gallery, data.query)]
    turn = random_rotation(32).numpy()
    signs = [(part - basis.mean.numpy()) @ basis.components.numpy().T @ turn.T > 0 for part in unit]
    distance = (signs[1][:, None] != signs[0][None]).sum(-1)
    nearest = distance.min(1)
    right = data.gallery_labels.numpy()[None] == data.query_labels.numpy()[:, None]
    at_least = np.mean([(right[q] | (distance[q] > nearest[q])).all() for q in range(len(right))])
    at_most = np.mean([(right[q] & (distance[q] == nearest[q])).any() for q in range(len(right))])
    assert at_least <= line.recall_at_1[-1] <= at_most  # ties are broken one way or the other


def test_rounded_vectors_hold_what_they_have(planted: Planted) -> None:
    odd = planted(rank=11, dim=13)
    for data, limit in ((odd, 11), (replace(odd, reading="prefix"), 13)):  # the last numbers of a prefix count too
        lines = {line.storage: line for line in measure(data, rounded=True).rounded}
        assert (lines["int8"].dims, lines["int8"].bytes) == ((1, 2, 4, 8, limit), (1, 2, 4, 8, limit))
        assert (lines["binary"].dims, lines["binary"].bytes) == ((8, limit), (1, 2))


def test_a_narrow_arm_is_stored_in_what_it_has(planted: Planted) -> None:
    card = measure(planted(rank=4, dim=4), rounded=True)
    assert [(line.storage, line.dims) for line in card.rounded] == [("int8", (1, 2, 4)), ("binary", (4,))]
    assert measure(planted(rank=4, dim=4)).rounded == ()


def test_ties_of_short_codes_are_broken_as_by_chance_and_the_interval_holds_them(digits: Digits) -> None:
    """In 8 bits most rows tie, and one row order finds 54 % where another finds 64: every order is as likely here."""
    data = EmbeddingSet(*digits)
    axes = principal_components(data.gallery)
    line = measure_rounded(data, "binary", axes)
    turn = random_rotation(8).numpy()
    gallery, query = (projected(rows, axes, 8).numpy() @ turn.T > 0 for rows in (data.gallery, data.query))
    distance = (query[:, None] != gallery).sum(2)
    rng = np.random.default_rng(0)
    labels, truth = data.gallery_labels.numpy(), data.query_labels.numpy()  # type: ignore[union-attr]
    right = np.zeros((40, len(truth)))
    for trial in right:  # an order of the rows for each query, drawn at random
        nearest = np.argpartition(distance + rng.random(distance.shape) / 2, 5, axis=1)[:, :5]
        votes = (labels[nearest][:, :, None] == np.arange(10)).sum(1)
        trial[:] = votes.argmax(1) == truth
    values = line.hits("knn_accuracy")[line.index(8)].numpy()
    by_chance = right.mean(1).std()
    assert values.mean() == pytest.approx(right.mean(), abs=3 * by_chance)
    assert by_chance < values.std() / len(values) ** 0.5  # so the noise of the queries has that of the ties in it
