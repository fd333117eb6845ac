# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, LabelTruth, Score, compare, measure, winner

Planted = Callable[..., EmbeddingSet]


@pytest.fixture(scope="module")
def template() -> Score:
    rows, labels = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    return measure(EmbeddingSet(rows, labels, rows, labels))


def with_hits(template: Score, hits: Tensor, *, arm: str, seed: int = 0, dims: tuple[int, ...] = (4,)) -> Score:
    """A score of which only the queries it gets right matter."""
    table = hits.double().expand(len(dims), -1)
    line = replace(template.frontier, dims=dims, values={"knn_accuracy": table, "recall@1": table})
    truth = LabelTruth(torch.arange(4), torch.zeros(hits.shape[-1]).long())
    return replace(template, arm=arm, seed=seed, frontier=line, truth=truth)


def coins(share: float, count: int, seed: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)) < share


def test_the_interval_over_queries_is_that_of_a_plain_bootstrap(template: Score) -> None:
    a, b = coins(0.9, 400, 0), coins(0.8, 400, 1)
    found = compare([with_hits(template, a, arm="a")], [with_hits(template, b, arm="b")], 4)
    differences = np.append(a.double().numpy() - b.double().numpy(), (1.0, -1.0))
    draws = np.random.default_rng(9).integers(len(differences), size=(20_000, len(differences)))
    low, high = np.quantile(differences[draws].mean(1), (0.025, 0.975))
    assert found.difference == pytest.approx(float(a.double().mean() - b.double().mean()))
    assert (found.low, found.high) == (pytest.approx(low, abs=0.003), pytest.approx(high, abs=0.003))


def test_the_interval_over_seeds_is_students(template: Score) -> None:
    # Queries all answered alike within a seed: only the seeds vary, by far more than queries could.
    shares = [(0.9, 0.5), (0.8, 0.7), (0.95, 0.45)]
    arms = [
        [with_hits(template, torch.arange(2000) < 2000 * pair[i], arm="ab"[i], seed=s) for s, pair in enumerate(shares)]
        for i in (0, 1)
    ]
    found = compare(*arms, 4)
    means = [a - b for a, b in shares]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(means), scale=stats.sem(means))
    assert (found.low, found.high, found.seeds) == (pytest.approx(low), pytest.approx(high), 3)


@pytest.mark.parametrize(("won", "lost", "expected"), [(4, 0, False), (8, 0, True), (12, 4, False), (20, 4, True)])
def test_few_queries_are_no_proof(won: int, lost: int, expected: bool, template: Score) -> None:
    """As the exact sign test at 5 %: p = 0.125, 0.008, 0.077, 0.002."""
    a, b = torch.ones(1000).bool(), torch.ones(1000).bool()
    b[:won] = False
    a[won : won + lost] = False
    assert bool(stats.binomtest(won, won + lost).pvalue < 0.05) is expected
    found = compare([with_hits(template, a, arm="a")], [with_hits(template, b, arm="b")], 4)
    assert bool(found.distinguishable) is expected


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_equal_arms_look_different_in_at_most_one_of_twenty(seeds: int, template: Score) -> None:
    alarms, trials = 0, 150
    for trial in range(trials):
        arms = [
            [with_hits(template, coins(0.9, 300, 1000 * trial + 10 * s + i), arm="ab"[i], seed=s) for s in range(seeds)]
            for i in (0, 1)
        ]
        alarms += compare(*arms, 4).distinguishable
    assert alarms <= stats.binom.ppf(0.999, trials, 0.05)


def test_seeds_that_share_a_split_do_not_count_its_queries_twice(template: Score) -> None:
    a, b = coins(0.9, 400, 0), coins(0.9, 400, 1)
    one = compare([with_hits(template, a, arm="a")], [with_hits(template, b, arm="b")], 4)
    five = compare(*([with_hits(template, h, arm=n, seed=s) for s in range(5)] for n, h in (("a", a), ("b", b))), 4)
    assert five.high - five.low == pytest.approx(one.high - one.low)


def test_the_result_does_not_depend_on_the_order_of_seeds_or_of_calls(template: Score) -> None:
    a = [with_hits(template, coins(0.9, 200, s), arm="a", seed=s) for s in range(3)]
    b = [with_hits(template, coins(0.8, 200, 9 + s), arm="b", seed=s) for s in range(3)]
    assert compare(a, b, 4) == compare(a[::-1], b, 4) == compare(a, b[::-1], 4)
    assert compare(b, a, 4).difference == -compare(a, b, 4).difference


def test_only_shared_seeds_are_paired(template: Score) -> None:
    a = [with_hits(template, coins(0.9, 200, s), arm="a", seed=s) for s in (0, 1, 2)]
    b = [with_hits(template, coins(0.8, 200, 9 + s), arm="b", seed=s) for s in (1, 2, 3)]
    assert compare(a, b, 4).seeds == 2
    with pytest.raises(ValueError, match=r"must share a seed to be compared in pairs; a has \[0\], b has \[1, 2, 3\]"):
        compare(a[:1], b, 4)


def test_other_queries_are_refused(template: Score) -> None:
    a = with_hits(template, coins(0.9, 200, 0), arm="a")
    b = replace(a, arm="b", truth=LabelTruth(torch.arange(4), torch.ones(200).long()))
    with pytest.raises(ValueError, match=r"must be judged on the same queries; a and b differ in the labels of seed 0"):
        compare([a], [b], 4)


def test_equal_arms_are_within_the_noise_and_a_better_one_is_not(planted: Planted) -> None:
    def arm(name: str, **how: object) -> list[Score]:
        return [measure(planted(arm=name, seed=seed, **how)) for seed in range(3)]

    arms = {"one": arm("one", draw=1), "two": arm("two", draw=2), "blurred": arm("blurred", draw=3, noise=1.5)}
    best = winner(arms, 16)
    assert best.arm in ("one", "two") and best.runner_up in ("one", "two")
    assert not best.distinguishable
    assert best.ties == (best.runner_up,)
    clear = winner({"blurred": arms["blurred"], "one": arms["one"]}, 16)
    assert clear.arm == "one" and clear.distinguishable and clear.ties == ()


def test_a_narrow_arm_competes_at_its_own_width_and_beyond(planted: Planted) -> None:
    wide = [measure(planted(arm="wide", noise=1.0, draw=1))]
    narrow = [measure(planted(arm="narrow", rank=4, dim=4, noise=0.05))]
    for k in (4, 6, 16):
        assert winner({"wide": wide, "narrow": narrow}, k).arm == "narrow"
        assert compare(narrow, wide, k).k == k


def test_a_tie_goes_to_the_arm_that_is_listed_first(template: Score) -> None:
    hits = coins(0.9, 100, 0)
    arms = {name: [with_hits(template, hits, arm=name)] for name in ("encoder", "head")}
    assert winner(arms, 4).arm == "encoder"
    assert winner({"head": arms["head"]}, 4).runner_up is None


def test_recall_is_ranked_by_its_own_hits(template: Score) -> None:
    a = with_hits(template, coins(0.9, 500, 0), arm="a")
    b = with_hits(template, coins(0.9, 500, 0), arm="b")
    b = replace(b, frontier=replace(b.frontier, values={**b.frontier.values, "recall@1": torch.zeros(1, 500)}))
    assert compare([a], [b], 4).difference == 0
    assert compare([a], [b], 4, measure="recall_at_1").distinguishable
