# SPDX-License-Identifier: Apache-2.0
"""The certificate is wrong in at most 5 % of tasks with known quality, for the code that was chosen by it."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.stats import binom, skew, t

from lightning_monocon.functional.correlation_values import spearman_values
from lightning_monocon.shrink.certificate import (
    certify,
    check_reach,
    correlation_low,
    fewest_values,
    keeps,
    quantile_high,
)

TASKS = 200
SHARE = float(binom.ppf(0.999, TASKS, 0.05)) / TASKS
"""Share that an error rate of 5 % exceeds in one of a thousand series of that many tasks."""


@pytest.mark.parametrize("kind", ["binary", "tenths", "near 1"])
def test_both_statements_hold_for_the_chosen_code_in_95_percent_of_tasks(kind: str) -> None:
    """The codes lie so that a lucky sample certifies one that does not keep enough."""
    random, keep = np.random.default_rng(3), 0.9
    truths = (0.96, 0.93, 0.9, 0.899, 0.899, 0.899)
    wrong = passed = 0
    for _ in range(TASKS):
        hard = random.random(100)
        codes = [_drawn(kind, random, hard, quality) for quality in truths]
        found = certify(codes, np.ones(100), keep, 0.95, whole_is_perfect=True)
        quality = truths[max(found.passed - 1, 0)]
        wrong += found.low > quality or (found.passed > 0 and quality < keep)
        passed += found.passed
    assert wrong / TASKS <= SHARE
    assert passed > 0


def _drawn(kind: str, random: np.random.Generator, hard: np.ndarray, quality: float) -> np.ndarray:
    """Draw qualities of mean ``quality``; hard queries are hard for all codes, so that their luck is shared."""
    if kind == "binary":
        return (hard < quality).astype(float)
    if kind == "tenths":
        return random.binomial(10, 1 - (1 - quality) * 2 * hard) / 10
    return 1 - 8 * (1 - quality) * (hard > 0.75) * random.random(len(hard))


def test_codes_are_tested_in_order_until_one_fails() -> None:
    good, bad, whole = np.ones(200), np.zeros(200), np.ones(200)
    assert certify([good, good, bad, good], whole, 0.9, 0.95).passed == 2
    assert certify([bad, good], whole, 0.9, 0.95).passed == 0


def test_the_bound_counts_all_codes_and_no_less_than_what_was_shown() -> None:
    values = np.random.default_rng(0).binomial(10, 0.9, 200) / 10
    alone = certify([values], np.ones(200), 0.8, 0.95).low
    among = certify([values] + [np.zeros(200)] * 9, np.ones(200), 0.8, 0.95).low
    assert 0.8 < among < alone < values.mean()
    few = np.ones(70)
    assert certify([few], few, 0.95, 0.95).low < 0.95
    assert certify([few], few, 0.95, 0.95, whole_is_perfect=True) == (1, 0.95, 1)


def test_nothing_keeps_all_of_perfect_answers_but_better_ones_can() -> None:
    random = np.random.default_rng(1)
    perfect, whole = np.ones(500), (random.random(500) < 0.7).astype(float)
    better = np.maximum(whole, random.random(500) < 0.3)
    assert not keeps(perfect[:, None], perfect, 1.0, 0.05)
    assert keeps(np.stack([whole, better], 1), whole, 1.0, 0.05).tolist() == [False, True]


@pytest.mark.parametrize(("count", "keep", "whole"), [(20, 0.95, 1.0), (10, 0.8, 1.0), (50, 0.99, 0.98)])
def test_what_no_code_can_show_is_refused_beforehand_and_only_that(count: int, keep: float, whole: float) -> None:
    """A code that answers everything is the best that there can be: it passes with what is named, and not before."""

    def passes(queries: int, share: float) -> bool:
        return certify([np.ones(queries)], np.full(queries, whole), share, 0.95).passed == 1

    with pytest.raises(ValueError, match=f"where {count} queries certify") as refused:
        check_reach(np.full(count, whole), keep, 0.95)
    most, needed = re.findall(r"at most ([.\d]+) .* give (\d+) queries", str(refused.value))[0]
    assert passes(count, float(most)) and not passes(count, float(most) + 0.001)
    assert passes(int(needed) // 2, keep) and not passes(int(needed) // 2 - 1, keep)
    check_reach(np.full(count, whole), float(most), 0.95)
    with pytest.raises(ValueError, match=r"got 1: ask for less\.$"):
        check_reach(np.ones(count), 1.0, 0.95)


def test_a_correlation_is_bounded_as_often_as_it_says_with_ties() -> None:
    random, tries = np.random.default_rng(2), 300
    bounds = []
    for _ in range(tries):
        score = np.round(random.normal(size=100) * 2)  # about nine grades
        cosine = 0.5 * score + random.normal(size=100)
        bounds.append(correlation_low(spearman_values(torch.from_numpy(cosine), torch.from_numpy(score)).numpy(), 0.05))
    score = np.round(random.normal(size=400_000) * 2)
    true = float(
        spearman_values(torch.from_numpy(0.5 * score + random.normal(size=400_000)), torch.from_numpy(score)).mean()
    )
    assert np.mean(np.array(bounds) > true) <= float(binom.ppf(0.999, tries, 0.07)) / tries
    assert np.median(bounds) > true - 0.15


def test_a_correlation_s_bound_inverts_the_skewness_correction() -> None:
    """Hall's transformation of the statistic at the bound is Student's quantile."""
    values = -np.random.default_rng(4).exponential(size=60)
    low = correlation_low(values, 0.05)
    statistic = (values.mean() - low) / (values.std(ddof=1) / 60**0.5)
    a = skew(values) / 60**0.5
    assert statistic + a * statistic**2 / 3 + a**2 * statistic**3 / 27 + a / 6 == pytest.approx(t.ppf(0.95, 59))
    mirrored = correlation_low(-values, 0.05)
    assert (-values.mean() - mirrored) / (values.std(ddof=1) / 60**0.5) == pytest.approx(t.ppf(0.95, 59))
    assert correlation_low(np.full(5, 0.3), 0.05) == pytest.approx(0.3)


def test_a_quantile_is_bounded_by_an_order_statistic() -> None:
    random = np.random.default_rng(2)
    highs = [quantile_high(random.random(200), 0.9, 0.05) for _ in range(TASKS)]
    assert np.mean([high is not None and high < 0.9 for high in highs]) <= SHARE
    assert fewest_values(0.95, 0.05) == 59
    assert quantile_high(np.arange(58.0), 0.95, 0.05) is None
    assert quantile_high(np.arange(59.0), 0.95, 0.05) == 58


@pytest.mark.parametrize("count", [59, 200, 1_000, 5_000])
@pytest.mark.parametrize("probability", [0.9, 0.95])
def test_the_order_statistic_is_the_quantile_of_the_binomial(count: int, probability: float) -> None:
    assert quantile_high(np.arange(float(count)), probability, 0.05) == binom.ppf(0.95, count, probability)
