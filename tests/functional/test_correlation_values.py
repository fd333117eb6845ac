# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from lightning_monocon.functional.correlation_values import pearson_values, spearman_values


def series(count: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores from 0 to 5 in fifths, as people give them, and a noisy prediction."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(26, (count,), generator=generator).double() / 5
    return scores + 1.5 * torch.randn(count, generator=generator, dtype=torch.float64), scores


@pytest.mark.parametrize("rounded", [False, True], ids=["distinct", "tied"])
def test_the_means_are_the_correlations_of_scipy(rounded: bool) -> None:
    predicted, scores = series()
    predicted = predicted.round() if rounded else predicted
    found = spearman_values(predicted, scores), pearson_values(predicted, scores)
    expected = stats.spearmanr(predicted, scores).statistic, stats.pearsonr(predicted, scores).statistic
    np.testing.assert_allclose([float(values.mean()) for values in found], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-309, 1e-200, 1e200, 1e307], ids=str)
def test_scores_of_any_magnitude_correlate_alike(scale: float) -> None:
    predicted, scores = series()
    expected = stats.pearsonr(predicted, scores).statistic
    for pair in ((predicted, scale * scores), (scale * predicted, scores)):
        np.testing.assert_allclose(float(pearson_values(*pair).mean()), expected, rtol=0, atol=1e-12)


def test_the_values_of_pearson_are_the_closed_form() -> None:
    x, y = (stats.zscore(part.numpy()) for part in series())
    r = np.mean(x * y)
    values = pearson_values(*series()).numpy()
    np.testing.assert_allclose(values, r + x * y - r * (x**2 + y**2) / 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["spearmanr", "pearsonr"])
def test_the_values_are_the_influences_of_single_pairs(name: str) -> None:
    """The infinitesimal jackknife: n times the change of the coefficient when a pair is left out, to order 1/n."""
    predicted, scores = (part.numpy() for part in series())
    coefficient = getattr(stats, name)
    whole = coefficient(predicted, scores).statistic
    without = [coefficient(np.delete(predicted, i), np.delete(scores, i)).statistic for i in range(0, len(scores), 10)]
    values = {"spearmanr": spearman_values, "pearsonr": pearson_values}[name](*series()).numpy()[::10]
    np.testing.assert_allclose(values - whole, (len(scores) - 1) * (whole - np.array(without)), atol=0.02)


def test_the_bootstrap_of_a_paired_difference_is_that_of_the_coefficients() -> None:
    rough, scores = series()
    fine = rough + 0.3 * (scores - rough)
    values = (spearman_values(fine, scores) - spearman_values(rough, scores)).numpy()
    generator = np.random.default_rng(0)
    draws = generator.integers(len(scores), size=(1000, len(scores)))
    pairs = [part.numpy() for part in (fine, rough, scores)]
    a, b, truth = (stats.rankdata(part[draws], axis=1) for part in pairs)

    def correlation(x: np.ndarray) -> np.ndarray:
        return np.mean(stats.zscore(x, axis=1) * stats.zscore(truth, axis=1), axis=1)

    expected = np.quantile(correlation(a) - correlation(b), (0.025, 0.975))
    np.testing.assert_allclose(np.quantile(values[draws].mean(1), (0.025, 0.975)), expected, atol=0.004)


def test_a_constant_series_has_no_correlation() -> None:
    _, scores = series(20)
    for values in (spearman_values(torch.ones(20), scores), pearson_values(scores, torch.ones(20))):
        torch.testing.assert_close(values, torch.zeros(20, dtype=torch.float64), rtol=0, atol=0)
