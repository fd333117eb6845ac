# SPDX-License-Identifier: Apache-2.0
"""Who is best at so many bytes per vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lightning_monocon.functional.quantisation import dims_within
from lightning_monocon.scorecard import EmbeddingSet, Score, compare, measure
from lightning_monocon.scorecard.byte_ranking import best_form, byte_winner
from lightning_monocon.scorecard.codes import byte_budgets
from lightning_monocon.scorecard.smallest import smallest_form

Planted = Callable[..., EmbeddingSet]


def arm(planted: Planted, name: str, seeds: int = 2, **how: object) -> list[Score]:
    return [measure(planted(arm=name, seed=seed, **how), rounded=True) for seed in range(seeds)]


@pytest.fixture(scope="module")
def arms(planted: Planted) -> dict[str, list[Score]]:
    return {"wide": arm(planted, "wide", noise=1.2), "sharp": arm(planted, "sharp", noise=0.4, draw=1)}


def test_each_half_is_judged_in_what_the_other_found_best(arms: dict[str, list[Score]]) -> None:
    (score, *_) = arms["wide"]
    for budget in (1, 4, 16, 64):
        form = best_form([score], budget)
        assert form is not None and form.k <= budget
        values = [
            line.hits()[place].double().numpy()
            for storage in ("float32", "int8", "binary")
            if (line := score.line(storage))
            for place, cost in enumerate(line.bytes)
            if cost <= budget
        ]
        right = 0.0
        for choosing, judging in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
            means = [float(each[choosing].mean()) for each in values]
            right += float(values[means.index(max(means))][judging].sum())
        assert form.accuracy == pytest.approx(right / len(values[0]))


def test_at_few_bytes_rounded_coordinates_win_and_at_full_width_nothing_is_lost(arms: dict[str, list[Score]]) -> None:
    small, whole = best_form(arms["sharp"], 4), best_form(arms["sharp"], 64)
    assert small is not None and small.code.partition(" ")[0] in ("int8", "binary")
    assert whole is not None and whole.accuracy >= sum(s.knn_accuracy for s in arms["sharp"]) / 2 - 0.01
    assert best_form(arms["sharp"], 0) is None


def test_the_winner_carries_its_margin_over_each_rival_in_its_own_storage(arms: dict[str, list[Score]]) -> None:
    best = byte_winner(arms, 8)
    rival = best_form(arms["wide"], 8)
    assert best is not None and rival is not None and best.arm == "sharp" and best.bytes == 8
    (margin,) = best.margins
    assert margin.storages == ("code", "code") and (margin.k, margin.other_k) == (best.k, rival.k)
    assert margin.difference == pytest.approx(best.accuracy - rival.accuracy)
    assert best.distinguishable and best.ties == ()
    assert byte_winner({}, 8) is None


def test_vectors_that_were_not_rounded_cannot_be_compared_as_such(planted: Planted) -> None:
    plain = measure(planted(arm="plain"))
    assert best_form([plain], 16) is None
    with pytest.raises(ValueError, match="`storages` must have been measured; plain has no int8 vectors"):
        compare([plain], [plain], 4, storages=("int8", "int8"))


def test_a_dead_column_costs_nothing() -> None:
    """Two equal embeddings, of which one has a column of zeros: at powers of two up to its rank it lost 18 points."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 60
    rows = 1.5 * torch.randn(60, 16, generator=generator)[labels] + torch.randn(600, 16, generator=generator)
    dead = rows.clone()
    dead[:, 0] = 0
    arms = {}
    for name, x in (("whole", rows), ("dead", dead), ("without", dead[:, 1:].contiguous())):
        arms[name] = [measure(EmbeddingSet(x[:400], labels[:400], x[400:], labels[400:], arm=name), rounded=True)]
    for budget in byte_budgets(16)[:-1]:
        forms = {name: best_form(scores, budget) for name, scores in arms.items()}
        assert forms["dead"] is not None and forms["whole"] is not None and forms["without"] is not None
        # one byte holds bits that are turned at random, which in axes of other signs is another draw: as far as two
        # standard deviations of the difference over 200 queries
        assert forms["dead"].accuracy == pytest.approx(forms["without"].accuracy, abs=0.09 if budget == 1 else 0.03)
    (whole,), (less,) = arms["whole"], arms["dead"]
    assert (whole.frontier.dims[-2:], less.frontier.dims[-2:]) == ((12, 16), (15, 16))


def test_seeds_of_unequal_rank_keep_what_each_has(planted: Planted) -> None:
    """The smallest form has 13 numbers in one seed and 11 in the other."""
    how = {"noise": 0.8, "classes": 30, "rows": (600, 1000)}
    scores = [measure(planted(seed=seed, rank=rank, **how), rounded=True) for seed, rank in ((0, 13), (1, 11))]
    form = best_form(scores, 16)
    assert form is not None and form.k == 16
    found = smallest_form({"encoder": scores}, "encoder")
    assert found is not None and (found.storage, found.k, found.within) == ("int8", 13, True)


@pytest.mark.parametrize(("width", "budgets"), [(1, (1, 2, 4)), (3, (1, 2, 4, 8)), (16, (1, 2, 4, 8, 16, 32, 64))])
def test_budgets_end_at_the_full_width(width: int, budgets: tuple[int, ...]) -> None:
    assert byte_budgets(width) == budgets
    assert [dims_within(b, "binary") for b in budgets[:3]] == [8, 16, 32]


def test_ties_of_storage_do_not_depend_on_the_seed_order(arms: dict[str, list[Score]]) -> None:
    turned = {name: scores[::-1] for name, scores in arms.items()}
    assert byte_winner(arms, 16) == byte_winner(turned, 16)


def test_prefixes_are_rounded_centred_and_unprojected(planted: Planted) -> None:
    data = replace(planted(noise=0.4), reading="prefix")
    shifted = replace(data, gallery=data.gallery + 5, query=data.query + 5)
    line = measure(shifted, rounded=True).line("binary")
    assert line is not None
    unit = [torch.nn.functional.normalize(rows.double()) for rows in (shifted.gallery, shifted.query)]
    signs = [rows - unit[0].mean(0) >= 0 for rows in unit]
    distance = (signs[1][:, None, :8] != signs[0][None, :, :8]).sum(-1)
    right = shifted.gallery_labels[None] == shifted.query_labels[:, None]
    nearest = distance == distance.min(1, keepdim=True).values
    at_least = float((right | ~nearest).all(1).double().mean())
    at_most = float((right & nearest).any(1).double().mean())
    assert at_least <= line.recall_at_1[line.dims.index(8)] <= at_most
