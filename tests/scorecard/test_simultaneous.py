# SPDX-License-Identifier: Apache-2.0
"""Check that a card of equal arms claims a winner in at most one case of twenty.

`benchmarks/scorecard_error_rates.py` asks the same of more populations.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from lightning_monocon.functional.paired_mean import paired_mean
from lightning_monocon.scorecard import EmbeddingSet, LabelTruth, Score, Winner, measure, winner
from lightning_monocon.scorecard.ranking import family, float_forms
from lightning_monocon.scorecard.simultaneous import critical_values, with_seeds_of_all

SIZES = (1, 2, 3, 4)
ACCURACY = 0.9


@pytest.fixture(scope="module")
def template() -> Score:
    rows, labels = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    return measure(EmbeddingSet(rows, labels, rows, labels))


def card(
    template: Score, rng: np.random.Generator, arms: int, seeds: int, queries: int, lead: float = 0.0
) -> list[Winner]:
    """Winners at four sizes; the first arm is better by ``lead``, runs differ by one point, sizes go together."""
    hard = 0.7 * rng.standard_normal(queries)
    asked = LabelTruth(torch.arange(4), torch.zeros(queries, dtype=torch.long))
    scores: dict[str, list[Score]] = {}
    for arm in range(arms):
        own = 0.4 * rng.standard_normal(queries)
        for seed in range(seeds):
            share = ACCURACY + (0.01 * rng.standard_normal() if seeds > 1 else 0) + (0 if arm else lead)
            run = 0.5 * rng.standard_normal(queries) + 0.3162 * rng.standard_normal((len(SIZES), queries))
            right = torch.from_numpy(hard + own + run < stats.norm.ppf(min(share, 0.999)))
            line = replace(template.frontier, dims=SIZES, values={"knn_accuracy": right.double()})
            found = replace(template, arm=str(arm), seed=seed, frontier=line, truth=asked)
            scores.setdefault(str(arm), []).append(found)
    together = family(scores, [float_forms(scores, k) for k in SIZES])
    return [winner(scores, k, card=together) for k in SIZES]


def beaten(best: Winner) -> bool:
    return any(margin.ahead for margin in best.margins)


@pytest.mark.parametrize(("arms", "seeds"), [(6, 1), (9, 1), (2, 3), (6, 3), (4, 10)])
def test_equal_arms_have_a_winner_in_at_most_one_card_of_twenty(template: Score, arms: int, seeds: int) -> None:
    rng, trials = np.random.default_rng(arms + 10 * seeds), 40
    claims = sum(any(map(beaten, card(template, rng, arms, seeds, 300))) for _ in range(trials))
    assert claims <= stats.binom.ppf(0.999, trials, 0.05)


def test_a_better_arm_wins(template: Score) -> None:
    rng = np.random.default_rng(0)
    assert all(best.arm == "0" and best.distinguishable for best in card(template, rng, 3, 1, 1000, lead=0.06))
    assert sum(best.distinguishable for best in card(template, rng, 4, 5, 1000, lead=0.07)) == len(SIZES)


def test_the_seeds_of_all_arms_tell_more_of_their_noise_than_two_arms_do() -> None:
    rng = np.random.default_rng(2)
    table: list[NDArray[np.float64]] = [rng.normal(rng.normal(0, 0.5, (5, 1)), 1, (5, 400)) for _ in range(3)]
    alone = paired_mean([values[0] - values[1] for values in table])
    (together,) = with_seeds_of_all([alone], table)
    means = np.array([values.mean(1) for values in table])
    residual = means - means.mean(0) - means.mean(1, keepdims=True) + means.mean()
    pooled = np.sqrt(2 * (residual**2).sum() / 8 / 3)  # (5 arms - 1) (3 seeds - 1), means of 3 seeds
    assert (alone.freedom, together.freedom) == (2, 8)
    assert together.seed_error == pytest.approx(max(pooled, alone.seed_error))
    assert with_seeds_of_all([alone], [values[:2] for values in table]) == [alone]


def test_what_seeds_explain_lies_between_one_size_and_all() -> None:
    rng = np.random.default_rng(3)
    sizes = [[rng.normal(size=(4, 500))] for _ in range(6)]
    one, all_sizes = critical_values(sizes[:1]), critical_values(sizes)
    assert 1.96 < one.units == one.seeds < all_sizes.seeds < all_sizes.units
    assert all_sizes.units == pytest.approx(stats.studentized_range.ppf(0.95 ** (1 / 6), 4, np.inf) / 2**0.5, abs=0.06)
    assert critical_values([[np.ones((1, 9))]]).units == pytest.approx(1.96, abs=1e-3)
