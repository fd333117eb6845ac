# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lightning_monocon.functional.paired_mean import deviations, paired_mean, query_interval, seed_interval, student

Floats = NDArray[np.float64]
Z = deviations(0.95)


def drawn(
    rng: np.random.Generator, seeds: int, units: int, of_seed: float, of_unit: float, rest: float
) -> list[Floats]:
    """Differences whose true mean is 0, with a part of each seed, of each unit and a rest."""
    table = of_seed * rng.standard_normal((seeds, 1)) + of_unit * rng.standard_normal((1, units))
    return list(table + rest * rng.standard_normal((seeds, units)))


@pytest.mark.parametrize("deviation", [0.0, 0.02, 0.2], ids=lambda d: f"deviation={d}")
@pytest.mark.parametrize("seeds", [1, 2, 3, 10], ids=lambda s: f"seeds={s}")
def test_the_interval_misses_the_truth_in_at_most_one_of_twenty(seeds: int, deviation: float) -> None:
    """For one seed the truth is that of the seed, whose training noise no interval can know."""
    rng, trials, missed = np.random.default_rng(seeds), 600, 0
    for _ in range(trials):
        low, high = paired_mean(drawn(rng, seeds, 200, deviation if seeds > 1 else 0.0, 0.5, 0.5)).interval(Z)
        missed += not low <= 0 <= high
    assert missed <= stats.binom.ppf(0.999, trials, 0.05)


def test_ten_seeds_are_not_wider_than_they_must_be() -> None:
    """The error is known here, so the half-width of an ideal interval is."""
    rng = np.random.default_rng(0)
    reach = np.mean([paired_mean(drawn(rng, 10, 500, 0.02, 0.3, 0.3)).reach(Z) for _ in range(200)])
    ideal = 1.96 * np.sqrt(0.02**2 / 10 + 0.3**2 / 500 + 0.3**2 / 5000)
    assert ideal < reach < 1.25 * ideal


def test_the_parts_are_those_of_the_analysis_of_variance() -> None:
    table = (
        np.random.default_rng(3).normal(size=(4, 3, 1)).mean(2) + np.random.default_rng(4).normal(size=(4, 300))[:, :3]
    )
    found = paired_mean(list(table))
    seeds, units = table.shape
    centred = table - table.mean()
    of_units = seeds * ((centred.mean(0)) ** 2).sum() / (units - 1)
    of_seeds = units * ((centred.mean(1)) ** 2).sum() / (seeds - 1)
    rest = ((centred - centred.mean(0) - centred.mean(1)[:, None]) ** 2).sum() / (seeds - 1) / (units - 1)
    added = 2 / units / (units - 1)
    assert found.units_error**2 == pytest.approx(of_units / table.size + added)
    assert found.seed_error**2 == pytest.approx(of_seeds / table.size)
    assert found.shared_error**2 == pytest.approx(max((of_units - rest) / table.size + added, 0))


def test_values_outside_of_the_unit_interval_scale_the_interval() -> None:
    """A pair's influence on a rank correlation may be larger than 1."""
    values = 3 * np.random.default_rng(0).normal(size=2000)
    low, high = query_interval([values])
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 1999, values.mean(), stats.sem(values)), abs=1e-3)


def test_splits_of_other_sizes_share_nothing() -> None:
    rng = np.random.default_rng(1)
    splits = [rng.normal(size=size) for size in (200, 300, 400)]
    found = paired_mean(splits)
    assert found.difference == pytest.approx(np.mean([split.mean() for split in splits]))
    assert found.shared_error == 0 and found.units == 300
    assert found.units_error == pytest.approx(np.sqrt(sum(stats.sem(split) ** 2 for split in splits)) / 3, rel=0.02)


def test_twenty_units_without_a_difference_prove_little() -> None:
    assert paired_mean([np.zeros(20)]).interval(Z)[1] > 0.1
    assert paired_mean([np.zeros(5000)]).interval(Z)[1] < 0.001


def test_student_is_scipys_and_one_seed_is_a_point() -> None:
    for z, freedom in ((1.96, 1), (3.2, 2), (2.5, 9), (1.0, 4000)):
        assert student(z, freedom) == pytest.approx(stats.t.isf(stats.norm.sf(z), freedom))
    assert seed_interval([0.3]) == (0.3, 0.3)
    assert seed_interval([1.0, 2.0, 4.0]) == pytest.approx(
        stats.t.interval(0.95, 2, loc=7 / 3, scale=stats.sem([1.0, 2.0, 4.0]))
    )
