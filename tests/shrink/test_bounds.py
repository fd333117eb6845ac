# SPDX-License-Identifier: Apache-2.0
"""Bounds hold as often as they say, and are not empty."""

from __future__ import annotations

import numpy as np
import torch

from lightning_monocon.shrink.bounds import keeps, mean_low, quantile_high


def test_a_lower_bound_lies_below_the_mean_in_95_percent_of_samples_and_close_to_it() -> None:
    random = np.random.default_rng(0)
    bounds = [mean_low(torch.from_numpy((random.random(300) < 0.9).astype(float)), 0.95) for _ in range(200)]
    assert np.mean(np.array(bounds) > 0.9) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
    assert np.median(bounds) > 0.84


def test_a_code_on_the_border_passes_in_at_most_5_percent_of_samples() -> None:
    random = np.random.default_rng(1)
    whole = torch.ones(200, dtype=torch.float64)
    codes = [torch.from_numpy(random.binomial(10, 0.8, 200) / 10) for _ in range(400)]
    passed = np.mean([keeps(code, whole, 0.8, 0.95) for code in codes])
    assert passed <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5
    assert np.mean([keeps(code, whole, 0.7, 0.95) for code in codes]) > 0.95


def test_a_quantile_is_bounded_by_an_order_statistic() -> None:
    random = np.random.default_rng(2)
    highs = [quantile_high(torch.from_numpy(random.random(200)), 0.9, 0.95) for _ in range(400)]
    assert np.mean([high is not None and high < 0.9 for high in highs]) <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5
    assert quantile_high(torch.arange(10.0), 0.95, 0.95) is None
