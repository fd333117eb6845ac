# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.preprocessing import normalize

from lightning_monocon.functional.checks import DegenerateSampleWarning
from lightning_monocon.functional.jackknife import grouped_moments
from lightning_monocon.scorecard.dimension import dimension_interval


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
    without = [crossing(np.delete(unit, np.s_[g::10], axis=0)) for g in range(10)]
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
    assert interval(flat) == (1.0, 1.0)
