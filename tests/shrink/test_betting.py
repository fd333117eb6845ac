# SPDX-License-Identifier: Apache-2.0
"""Bets hold as often as they say, whatever the distribution, and are not empty."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from lightning_monocon.shrink.betting import exceeds, mean_low


def level(count: int) -> float:
    """Return the share that an error rate of 5 % exceeds in one of a thousand series of that length."""
    return float(binom.ppf(0.999, count, 0.05)) / count


@pytest.mark.parametrize("count", [20, 200])
@pytest.mark.parametrize("kind", ["binary", "tenths", "near 1", "rare and large"])
def test_a_mean_that_is_no_larger_is_shown_in_at_most_5_percent(kind: str, count: int) -> None:
    random, tries = np.random.default_rng(count), 2000
    shape = (count, tries)
    values, mean = {
        "binary": (random.random(shape) < 0.95, 0.95),
        "tenths": (random.binomial(10, 0.8, shape) / 10, 0.8),
        "near 1": (random.beta(19.0, 1.0, shape), 0.95),
        "rare and large": (random.random(shape) < 0.02, 0.02),
    }[kind]
    shown = exceeds(values.astype(np.float64), np.full(tries, mean), 0.0, 0.05)
    assert shown.mean() <= level(tries)


def test_the_fortune_of_a_single_bet_follows_the_formula() -> None:
    # goal log 20, one value left, the prior variance 1/4: the bet is sqrt(2 log 20 / 0.25), at most 0.95 / (m - floor)
    for mean in (0.1, 0.9):
        bet = min(math.sqrt(8 * math.log(20)), 0.95 / mean)
        wins = 1 + bet * (1 - mean) >= 20
        assert exceeds(np.ones((1, 1)), np.array([mean]), 0.0, 0.05)[0] == wins
    assert exceeds(np.ones((1, 1)), np.array([0.01]), 0.0, 0.05)[0] == (1 + 4.8955 * 0.99 >= 20)


@pytest.mark.parametrize(("count", "wins"), [(61, False), (62, True)])
def test_perfect_values_win_as_soon_as_bold_bets_allow(count: int, wins: bool) -> None:
    assert math.ceil(math.log(20) / math.log1p(0.95 * 0.05 / 0.95)) == 62
    assert exceeds(np.ones((count, 1)), np.array([0.95]), 0.0, 0.05)[0] == wins


def test_a_lower_bound_lies_below_the_mean_in_95_percent_of_samples_and_close_to_it() -> None:
    random = np.random.default_rng(0)
    bounds = np.array([mean_low((random.random(300) < 0.9).astype(float), 0.05) for _ in range(100)])
    assert np.mean(bounds > 0.9) <= level(100)
    assert np.median(bounds) > 0.85
    assert mean_low(np.zeros(50), 0.05) == 0.0
