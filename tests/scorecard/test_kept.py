# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_monocon.functional.paired_mean import paired_mean
from lightning_monocon.scorecard import EmbeddingSet, LabelTruth, Score, measure
from lightning_monocon.scorecard.flags import flags
from lightning_monocon.scorecard.kept import kept_of, queries_needed
from lightning_monocon.scorecard.ranking import Comparison, compare
from lightning_monocon.scorecard.truths import GradedTruth


@pytest.fixture(scope="module")
def score(planted: Callable[..., EmbeddingSet]) -> Score:
    return measure(planted())


def _comparison(difference: float, reach: float) -> Comparison:
    ends = (difference - reach, difference + reach)
    return Comparison("a", 4, "b", 16, difference, *ends, 1, ends, ends, paired_mean([np.zeros(2)]))


@pytest.mark.parametrize(
    ("difference", "reach", "outcome"),
    [
        (0.0, 0.009, "kept"),
        (0.0, 0.011, "open"),
        (-0.004, 0.003, "kept"),
        (-0.2, 0.21, "open"),
        (-0.02, 0.015, "lost"),
        (-0.008, 0.004, "open"),
        (0.3, 0.2, "kept"),
    ],
)
def test_the_lower_end_decides_what_is_kept(difference: float, reach: float, outcome: str, score: Score) -> None:
    assert kept_of(_comparison(difference, reach), [score]).outcome == outcome


def test_queries_that_are_repeated_count_once(score: Score) -> None:
    truth = score.truth
    assert isinstance(truth, LabelTruth)
    often = replace(score, n_query=20 * score.n_query, truth=LabelTruth(truth.gallery, truth.query.repeat(20)))
    narrow, wide = _comparison(-0.002, 0.02 / 20**0.5), _comparison(-0.002, 0.02)
    once, repeated = kept_of(wide, [score]), kept_of(narrow, [often])
    assert (repeated.low, repeated.high, repeated.queries) == pytest.approx((once.low, once.high, once.queries))
    assert kept_of(narrow, [replace(often, coded=True)]).low == pytest.approx(narrow.low)


def test_pairs_that_are_repeated_count_once_either_way_round() -> None:
    rows, one = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), torch.arange(25)
    pairs = GradedTruth("pairs", one, one + 25, torch.arange(25.0))
    left, right = torch.cat([pairs.left, pairs.right]), torch.cat([pairs.right, pairs.left])
    often = GradedTruth("pairs", left.repeat(30), right.repeat(30), pairs.scores.repeat(60))
    assert (pairs.different, often.different) == (25, 25)
    few, many = (measure(EmbeddingSet(rows, None, rows, truths=(truth,)), dims=(8,)) for truth in (pairs, often))
    once, repeated = kept_of(_comparison(0.0, 0.05), [few]), kept_of(_comparison(0.0, 0.05 / 60**0.5), [many])
    assert (once.outcome, repeated.outcome, repeated.queries) == ("open", "open", 25)
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high))
    assert "repeated pairs (1475 of 1500): intervals over all pairs are too narrow" in flags(many)
    assert not any(text.startswith("repeated") for text in flags(few))


def test_the_recommended_queries_show_that_nothing_is_lost_in_four_of_five_cases() -> None:
    """Equal arms that disagree on 8 % of the queries, drawn anew; the deviation of a query is the root of 0.08."""
    pilot, margin = 500, 0.01
    reach = 1.96 * (0.08 / pilot) ** 0.5
    needed = queries_needed(-reach, reach, pilot, margin)
    assert needed == pytest.approx(2.8016**2 * 0.08 / margin**2, rel=0.002)
    won = np.random.default_rng(0).multinomial(needed, (0.04, 0.92, 0.04), size=20_000)
    mean = (won[:, 0] - won[:, 2]) / needed
    error = np.sqrt(((won[:, 0] + won[:, 2]) / needed - mean**2) / needed)
    assert (mean - 1.96 * error > -margin).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("queries", [20, 100, 1000])
def test_a_loss_of_the_margin_is_called_kept_in_one_of_forty_sets_at_most(queries: int, score: Score) -> None:
    """Arms that lose five points of ten per cent at stake, judged with a margin of five points."""
    rng = np.random.default_rng(1)
    truth = LabelTruth(torch.arange(4), torch.zeros(queries).long())
    judged = replace(score, n_query=queries, distinct_query=queries, truth=truth)
    passed = 0
    for _ in range(400):
        won = rng.choice([1.0, 0.0, -1.0], p=[0.025, 0.9, 0.075], size=queries)
        ends = _interval(won)
        comparison = replace(_comparison(float(won.mean()), 0.0), low=ends[0], high=ends[1], query_interval=ends)
        passed += kept_of(comparison, [judged], margin=0.05).outcome == "kept"
    assert passed / 400 <= 0.045  # 2.5 % and two deviations of 400 trials


def _interval(won: np.ndarray) -> tuple[float, float]:
    """Return the normal interval with one query won and one lost besides (Bonett and Price 2012)."""
    padded = np.append(won, (1.0, -1.0))
    reach = 1.96 * padded.std() / len(padded) ** 0.5
    return float(padded.mean() - reach), float(padded.mean() + reach)


def test_what_is_compared_is_what_is_judged(planted: Callable[..., EmbeddingSet]) -> None:
    arm, base = measure(planted(draw=1, noise=1.2)), measure(planted(noise=0.3))
    found = kept_of(compare([arm], [base], 16), [arm])
    assert found.outcome == "lost" and (found.low, found.high) == compare([arm], [base], 16).query_interval
