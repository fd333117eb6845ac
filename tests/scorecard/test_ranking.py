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
from lightning_monocon.scorecard.ranking import family, float_forms

Planted = Callable[..., EmbeddingSet]
SHARES = ((0.95, "good"), (0.8, "bad"))


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
    differences = a.double().numpy() - b.double().numpy()
    draws = np.random.default_rng(9).integers(len(differences), size=(20_000, len(differences)))
    low, high = np.quantile(differences[draws].mean(1), (0.025, 0.975))
    assert found.difference == pytest.approx(float(a.double().mean() - b.double().mean()))
    assert (found.low, found.high) == (pytest.approx(low, abs=0.003), pytest.approx(high, abs=0.003))
    assert found.query_interval == found.simultaneous == (found.low, found.high)


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
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    assert found.seeds == 3 and found.low < found.query_interval[0] < found.query_interval[1] < found.high


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


def test_a_lead_is_one_of_the_arm_itself(template: Score) -> None:
    good, bad = (with_hits(template, coins(share, 400, i), arm=name) for i, (share, name) in enumerate(SHARES))
    ahead, behind = compare([good], [bad], 4), compare([bad], [good], 4)
    assert (ahead.ahead, ahead.behind, ahead.distinguishable) == (True, False, True)
    assert (behind.ahead, behind.behind, behind.distinguishable) == (False, True, True)


def test_arms_with_other_seeds_are_ranked_on_the_shared_ones(template: Score) -> None:
    """Its further seeds are far better, but the rival was never trained on them."""
    base = [with_hits(template, coins(0.9, 1000, 0), arm="base", seed=0)]
    more = [with_hits(template, coins(0.98 if s else 0.8, 1000, s + 1), arm="more", seed=s) for s in range(5)]
    best = winner({"more": more, "base": base}, 4)
    assert best.arm == "base" and best.margins[0].difference > 0 and best.margins[0].seeds == 1
    assert best.accuracy == pytest.approx(float(base[0].frontier.knn_accuracy[0]))
    with pytest.raises(
        ValueError, match=r"`arms` must share a seed to be ranked; more has \[1, 2, 3, 4\]; base has \[0"
    ):
        winner({"more": more[1:], "base": base}, 4)


def test_a_card_asks_for_more_than_one_comparison_does(template: Score) -> None:
    """The lead is 2.5 deviations, enough for two arms at one size, not for the best of nine."""
    base = torch.ones(1000).bool()
    won = with_hits(template, base, arm="won")
    behind = base.clone()
    behind[:8] = False
    two = {"won": [won], "behind": [with_hits(template, behind, arm="behind")]}
    assert winner(two, 4).distinguishable
    rest = {f"arm {i}": [with_hits(template, coins(0.9, 1000, i), arm=f"arm {i}")] for i in range(7)}
    best = winner({**two, **rest}, 4)
    margin = best.margins[0]
    assert (best.arm, margin.other, best.ties) == ("won", "behind", ("behind",))
    assert margin.low > 0 > margin.simultaneous[0] and not margin.ahead


def test_the_family_of_one_size_is_tukeys(template: Score) -> None:
    """Arms that err independently: the largest of all differences is a studentised range."""
    arms = {str(i): [with_hits(template, coins(0.5, 20_000, i), arm=str(i))] for i in range(6)}
    card = family(arms, [float_forms(arms, 4)])
    expected = stats.studentized_range.ppf(0.95, 6, np.inf) / 2**0.5
    assert card.critical.units == pytest.approx(expected, abs=0.05) and card.critical.seeds == card.critical.units
    # a size at which all arms answer alike adds nothing, one at which they answer anew does
    line = {
        name: [with_hits(template, s.frontier.hits()[0], arm=name, dims=(1, 4)) for s in scores]
        for name, scores in arms.items()
    }
    assert family(line, [float_forms(line, 1), float_forms(line, 4)]).critical.units == pytest.approx(
        expected, abs=0.05
    )


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
