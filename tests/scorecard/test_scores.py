# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from torch import Tensor

from lightning_monocon.functional.checks import DegenerateSampleWarning
from lightning_monocon.functional.jackknife import group_numbers, grouped_moments
from lightning_monocon.functional.moments import moments
from lightning_monocon.scorecard import EmbeddingSet, Score, measure, score
from lightning_monocon.scorecard.embeddings import Reading
from lightning_monocon.scorecard.render.schema import as_json
from lightning_monocon.scorecard.scores import dimension_interval
from lightning_monocon.scorecard.scoring import scorecard_of

Planted = Callable[..., EmbeddingSet]
Digits = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def card(digits: Digits) -> Score:
    gallery, gallery_labels, query, query_labels = digits
    return score(gallery=gallery, gallery_labels=gallery_labels, query=query, query_labels=query_labels)


def test_the_spectrum_agrees_with_scikit_learn(card: Score, digits: Digits) -> None:
    rows, queries = (normalize(digits[i].double().numpy()) for i in (0, 2))
    pca = PCA(svd_solver="full").fit(rows)
    np.testing.assert_allclose(card.spectrum.numpy(), pca.explained_variance_, rtol=1e-9, atol=1e-15)
    assert card.n99 == 1 + int((pca.explained_variance_ratio_.cumsum() < 0.99).sum()) == 42
    assert card.total_variance == pytest.approx(rows.var(0, ddof=1).sum())
    short = PCA(n_components=card.n99, svd_solver="full").fit(rows)
    left = queries - short.inverse_transform(short.transform(queries))
    assert card.rmse == pytest.approx(math.sqrt((left**2).mean()))
    assert card.fvu == pytest.approx((left**2).sum() / ((queries - rows.mean(0)) ** 2).sum())


def test_the_pairs_agree_with_numpy(card: Score, digits: Digits) -> None:
    rows = normalize(digits[0].double().numpy())
    cosines = rows @ rows.T
    assert card.mean_cosine == pytest.approx((cosines.sum() - len(rows)) / (len(rows) * (len(rows) - 1)))
    moving = rows[:, rows.std(0) > 0]
    off = np.corrcoef(moving, rowvar=False)[~np.eye(moving.shape[1], dtype=bool)]
    assert card.feature_correlation == pytest.approx(math.sqrt((off**2).mean()))


def test_the_facts_about_the_rows(card: Score, digits: Digits) -> None:
    _, labels, _, truth = digits
    commonest = np.bincount(labels.numpy()).argmax()
    assert (card.n, card.n_query, card.dim, card.classes, card.rank) == (1200, 597, 64, 10, 61)
    assert card.chance == pytest.approx(float((truth.numpy() == commonest).mean()))
    assert (card.distinct, card.leaked) == (1200, 0)
    assert card.knn_accuracy == card.knn_accuracy_at(64) == card.frontier.knn_accuracy[-1]
    assert (card.recall_at_1, card.recall_at_5) == (card.recall[1], card.recall[5])


def test_the_accuracy_in_n99_dimensions_is_always_measured(planted: Planted) -> None:
    card = measure(planted(rank=7, dim=16), dims=[2, 16])
    assert card.n99 == 7
    assert card.frontier.dims == (2, 7, 16)


def test_arrays_and_tensors_score_alike(digits: Digits) -> None:
    gallery, gallery_labels, query, query_labels = (part[:200] for part in digits)
    tensors = score(gallery=gallery, gallery_labels=gallery_labels, query=query, query_labels=query_labels)
    arrays = score(
        gallery=gallery.numpy(),
        gallery_labels=gallery_labels.numpy(),
        query=query.numpy(),
        query_labels=query_labels.numpy(),
    )
    assert tensors.frontier.knn_accuracy == arrays.frontier.knn_accuracy
    assert tensors.rmse == arrays.rmse


def test_rows_that_are_all_equal_are_scored_without_a_spectrum() -> None:
    labels = torch.arange(12) % 3
    card = measure(EmbeddingSet(torch.ones(12, 4), labels, torch.ones(6, 4), labels[:6]))
    assert (card.n99, card.rank, card.total_variance, card.mean_cosine) == (0, 0, 0.0, pytest.approx(1.0))
    assert math.isnan(card.rmse) and math.isnan(card.fvu)
    assert card.frontier.dims == (1, 4)


def test_repeated_rows_and_leaks_are_counted(planted: Planted) -> None:
    data = planted()
    twice = EmbeddingSet(
        torch.cat([data.gallery, data.gallery]),
        torch.cat([data.gallery_labels, data.gallery_labels]),
        torch.cat([data.query, data.gallery[:40]]),
        torch.cat([data.query_labels, data.gallery_labels[:40]]),
    )
    card = measure(twice)
    assert (card.n, card.distinct, card.leaked) == (1200, 600, 40)


def test_dimensions_beyond_the_rank_are_refused(planted: Planted) -> None:
    with pytest.raises(ValueError, match=r"`dims` must not exceed 7, the gallery's rank"):
        measure(planted(rank=7, dim=16), dims=[8])


@pytest.mark.parametrize("reading", ["pca", "prefix"])
@pytest.mark.parametrize(("dtype", "powers"), [(torch.float32, (-100, 100)), (torch.float64, (-700, 700))], ids=str)
def test_a_scorecard_does_not_depend_on_the_magnitude_of_the_rows(
    planted: Planted, reading: Reading, dtype: torch.dtype, powers: tuple[int, int]
) -> None:
    data = planted(rows=(120, 60), dim=8, rank=6)

    def card(power: int) -> dict[str, Any]:
        gallery, query = (rows.to(dtype) * 2.0**power for rows in (data.gallery, data.query))
        return as_json(scorecard_of(replace(data, gallery=gallery, query=query, reading=reading)))

    expected = card(0)
    for power in powers:
        assert card(power) == expected


def crossing(rows: np.ndarray) -> float:
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    share = values.cumsum() / values.sum()
    k = int((share < 0.99).sum())
    below = share[k - 1]
    return k + (0.99 - below) / (share[k] - below)


def interval(rows: torch.Tensor) -> tuple[float, float]:
    return dimension_interval(grouped_moments(rows, 10, normalize=True))


def rows(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 40, generator=generator, dtype=torch.float64) * torch.linspace(1, 0.02, 40)


def test_the_interval_is_the_delete_group_jackknife() -> None:
    x = rows(203)
    unit = normalize(x.numpy())
    without = [crossing(unit[group_numbers(x, 10, normalize=True) != g]) for g in range(10)]
    error = np.sqrt(9 / 10 * np.sum((without - np.mean(without)) ** 2))
    expected = stats.t.interval(0.95, 9, loc=np.ceil(crossing(unit)), scale=error)
    assert interval(x) == pytest.approx(expected)


def test_more_rows_give_a_narrower_interval() -> None:
    few, many = (interval(rows(count)) for count in (60, 6000))
    assert 0 < many[1] - many[0] < (few[1] - few[0]) / 2


def test_the_interval_holds_the_dimension_of_as_many_other_rows() -> None:
    other = [np.ceil(crossing(normalize(rows(600, 100 + seed).numpy()))) for seed in range(20)]
    intervals = [interval(rows(600, seed)) for seed in range(20)]
    # The interval is about the truth, so another draw, which has noise of its own, is met a little less often.
    assert sum(low <= n <= high for (low, high), n in zip(intervals, other, strict=True)) >= 15


def test_equal_rows_and_true_low_rank_have_no_spread() -> None:
    with pytest.warns(DegenerateSampleWarning, match="All 20 rows are equal"):
        assert interval(torch.ones(20, 4)) == (0.0, 0.0)
    flat = torch.eye(4, dtype=torch.float64)[:2].repeat(20, 1)
    assert dimension_interval([moments(part) for part in flat.split(4)]) == (1.0, 1.0)


def test_two_rows_and_their_copies_say_nothing_about_other_rows() -> None:
    """Copies share a group, and what is left without it has no variance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateSampleWarning)
        assert interval(torch.eye(4, dtype=torch.float64)[:2].repeat(20, 1)) == (1.0, 4.0)
