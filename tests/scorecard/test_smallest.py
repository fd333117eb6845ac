# SPDX-License-Identifier: Apache-2.0
"""The bottom line: the smallest embedding that keeps the whole baseline's accuracy, and how it is put into words."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lightning_monocon.functional.quantisation import vector_bytes
from lightning_monocon.scorecard import EmbeddingSet, Scorecard, as_json, build, measure
from lightning_monocon.scorecard.ranking import compare
from lightning_monocon.scorecard.render.sentences import bottom_line
from lightning_monocon.scorecard.render.text import as_text
from lightning_monocon.scorecard.scoring import scorecard_of
from lightning_monocon.scorecard.smallest import has_skill, smallest_form
from lightning_monocon.scorecard.truths import QrelsTruth

Planted = Callable[..., EmbeddingSet]


def _corners(arm: str, dim: int = 8, seed: int = 0, classes: int = 8, queries: int = 80) -> EmbeddingSet:
    """Classes on corners of a cube, far apart: each coordinate is worth its sign alone."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.tensor(
        [[1.0 if (row & column).bit_count() % 2 else -1.0 for column in range(8)] for row in range(8)]
    )
    rows = torch.cat([corners[:, 1:], corners.prod(1, keepdim=True)], 1)[:, :dim]
    labels = torch.arange(160 + queries) % classes
    points = rows[labels] + 0.01 * torch.randn(160 + queries, dim, generator=generator)
    return EmbeddingSet(points[:160], labels[:160], points[160:], labels[160:], arm=arm, seed=seed)


def _neighbours_on_a_circle() -> EmbeddingSet:
    """Three of four classes a thousandth of a radian apart: no coarser form than two float32 numbers keeps them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    wide = 1 + 4 * torch.rand(400, generator=generator)
    angles = torch.where(labels == 3, wide, 1e-3 * labels + 1e-5 * torch.randn(400, generator=generator))
    points = torch.stack([angles.cos(), angles.sin()], 1)
    return EmbeddingSet(points[:300], labels[:300], points[300:], labels[300:], arm="circle")


def _signs() -> EmbeddingSet:
    labels = torch.arange(60) % 2
    rows = 2.0 * labels[:, None] - 1
    return EmbeddingSet(rows, labels, rows, labels, arm="signs")


def _shaky(planted: Planted) -> dict[str, list[EmbeddingSet]]:
    """A small arm that loses everything in one seed and nothing in the other, beside a baseline that loses nothing."""
    return {
        "encoder": [planted(seed=seed, noise=0.1) for seed in range(2)],
        "shaky": [planted(arm="shaky", seed=seed, noise=(0.1, 0.9)[seed], rank=4, dim=4, draw=1) for seed in range(2)],
    }


def _three_seeds(planted: Planted) -> dict[str, list[EmbeddingSet]]:
    return {
        "encoder": [planted(seed=seed, noise=0.8) for seed in range(3)],
        "head": [planted(arm="head", seed=seed, noise=0.7, rank=6, dim=6, draw=1) for seed in range(3)],
        "prefix": [replace(planted(arm="prefix", seed=seed, noise=0.8, draw=2), reading="prefix") for seed in range(3)],
    }


@pytest.mark.parametrize("sets", [_shaky, _three_seeds], ids=["two seeds that disagree", "three seeds"])
def test_it_is_the_fewest_bytes_at_which_the_queries_rule_out_a_loss_of_a_point(
    sets: Callable[[Planted], dict[str, list[EmbeddingSet]]], planted: Planted
) -> None:
    """Against every form of every arm, tried one by one."""
    card = build(sets(planted), with_nulls=False)
    baseline, found = card.arm("encoder"), card.smallest
    assert found is not None and found.loss.outcome == "kept"
    passed, loses_beyond_seeds = [], False
    for arm in card.arms:
        for line in (arm.scores[0].frontier, *arm.scores[0].rounded):
            for k in line.dims:
                storages = (line.storage, "float32")
                margin = compare(arm.scores, baseline.scores, k, baseline.width, storages=storages)
                if margin.query_interval[0] > -0.01:
                    passed.append(vector_bytes(k, line.storage))
                loses_beyond_seeds |= margin.query_interval[1] < 0 <= margin.high
    assert found.bytes == min(passed) == vector_bytes(found.k, found.storage)
    assert found.margin.query_interval[0] > -0.01
    assert found.whole == (16, 64, pytest.approx(baseline.spread("knn_accuracy")[0]))
    if sets is _shaky:
        assert loses_beyond_seeds, "else this says nothing of two seeds that disagree"


def _signs_card(queries: int) -> Scorecard:
    sets = {name: [_corners(name, seed=seed, queries=queries) for seed in range(2)] for name in ("encoder", "head")}
    return build(sets, with_nulls=False)


def test_signs_that_tell_all_classes_apart_need_one_byte() -> None:
    card = _signs_card(800)
    found = card.smallest
    assert found is not None and (found.storage, found.k, found.bytes, found.within) == ("binary", 8, 1, True)
    assert found.margin.difference == 0 and found.whole == (8, 32, 1.0)
    line = str(bottom_line(card))
    assert line.startswith(
        "Bottom line: The smallest embedding that is shown to lose less than 1 point against the whole encoder (8 "
        "float32 numbers, 32 bytes, 5-NN accuracy 100.0 %) is encoder itself as binary in 8 dimensions (1 byte, 100.0 "
        "%). The difference in accuracy is +0.0 points, 95 % interval -0."
    )
    assert line.endswith(
        "It was chosen among all measured sizes (float32, int8, binary) by the same queries that judge it, so its "
        "accuracy is slightly optimistic."
    )


def test_eighty_queries_without_an_error_cannot_show_that_a_point_is_not_lost() -> None:
    """The rule of three: no error of n leaves an error rate of 3 / n open."""
    card = _signs_card(80)
    found = card.smallest
    assert found is not None and (found.bytes, found.loss.outcome, found.within) == (1, "open", True)
    assert 300 < found.loss.needed < 3000
    line = str(bottom_line(card))
    assert line.startswith(
        "Bottom line: 80 different queries cannot tell whether an embedding smaller than the whole encoder (8 float32 "
        f"numbers, 32 bytes, 5-NN accuracy 100.0 %) loses less than 1 point; if nothing is lost, about "
        f"{found.loss.needed} would show it in four of five cases. The smallest of all measured sizes (float32, int8, "
        "binary) without a shown loss is encoder itself as binary in 8 dimensions (1 byte, 100.0 %). The difference in "
        "accuracy is +0.0 points, 95 % interval -"
    )
    assert line.endswith(f"A loss of up to {-100 * found.loss.low:.1f} points is not ruled out.")


def test_of_equal_bytes_the_more_accurate_form_is_named(planted: Planted) -> None:
    sets = {
        "encoder": [_corners("encoder", dim=8)],
        "worse": [replace(_corners("worse"), query=_corners("worse").query.roll(1, 0))],
        "head": [_corners("head", seed=0)],
    }
    found = build(sets, with_nulls=False).smallest
    assert found is not None and found.arm == "encoder" and found.bytes == 1 and found.accuracy == 1.0


def test_where_nothing_smaller_will_do_the_nearest_is_named_with_its_loss() -> None:
    card = scorecard_of(_neighbours_on_a_circle())
    found = card.smallest
    assert found is not None and not found.within and found.bytes < 8
    assert found.margin.difference < -0.2 and found.margin.query_interval[1] < 0
    line = str(bottom_line(card))
    assert line.startswith(
        "Bottom line: No form that was measured, smaller than the whole circle (2 float32 numbers, 8 bytes, 5-NN "
        "accuracy 100.0 %), keeps its accuracy. The nearest of all measured sizes (float32, int8, binary) is circle "
        "itself as "
    )
    assert "points, 95 % interval -" in line and "ruled out" not in line


def test_one_seed_is_said_not_to_show_another_training(planted: Planted) -> None:
    sets = {name: runs[:1] for name, runs in _three_seeds(planted).items()}
    one, three = (str(bottom_line(build(arms, with_nulls=False))) for arms in (sets, _three_seeds(planted)))
    assert "a single seed does not show what another training would give." in one
    assert "single seed" not in three


def test_a_baseline_without_skill_holds_nothing_back(planted: Planted) -> None:
    """Every guess keeps the accuracy of chance, at one byte."""
    data = planted()
    shuffled = torch.randperm(len(data.gallery), generator=torch.Generator().manual_seed(1))
    lost = replace(data, gallery_labels=data.gallery_labels[shuffled])
    card = build({"encoder": [lost], "head": [replace(lost, arm="head")]}, with_nulls=False)
    assert card.smallest is None
    said = "The whole encoder finds no more than chance, so nothing can be compared with it."
    assert str(bottom_line(card)) == f"Bottom line: {said}"


def test_one_query_shows_no_skill_and_needs_no_warning(planted: Planted) -> None:
    data, one = planted(), torch.zeros(1).long()
    qrels = QrelsTruth(query=one, row=one, grade=torch.ones_like(one), queries=1, rows=len(data.gallery))
    found = measure(EmbeddingSet(data.gallery, None, data.gallery[:1], truths=(qrels,)), dims=(16,))
    assert found.value == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not has_skill([found])


def test_only_storages_that_were_measured_are_named(planted: Planted) -> None:
    scores = {"encoder": [measure(planted(noise=0.2))]}
    found = smallest_form(scores, "encoder")
    assert found is not None and found.storages == ("float32",) and found.storage == "float32"


def test_one_number_that_was_not_rounded_has_nothing_smaller() -> None:
    assert smallest_form({"signs": [measure(_signs())]}, "signs") is None
    line = bottom_line(replace(scorecard_of(_signs()), smallest=None))
    assert str(line) == "Bottom line: Nothing smaller than the whole signs was measured."


def test_the_bottom_line_stands_in_the_first_lines(planted: Planted) -> None:
    card = build(_shaky(planted), with_nulls=False)
    said = bottom_line(card)
    assert " ".join(as_text(card).split("\n\n")[1].split()) == str(said)
    plain = as_json(card)["smallest"]
    assert (plain["bytes"], plain["margin"]["low"]) == (card.smallest.bytes, card.smallest.margin.low)
    assert math.isfinite(plain["accuracy"]) and plain["whole"][:2] == [16, 64]
