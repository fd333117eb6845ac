# SPDX-License-Identifier: Apache-2.0
"""Scorecards by other truths than labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lightning_monocon.scorecard import (
    EmbeddingSet,
    GradedTruth,
    NeighbourTruth,
    QrelsTruth,
    Scorecard,
    build,
    score,
)
from lightning_monocon.scorecard.scoring import scorecard_of

Planted = Callable[..., EmbeddingSet]


def qrels_of(data: EmbeddingSet, answers: int = 2) -> QrelsTruth:
    """The first rows of the query's class are its answers."""
    assert data.gallery_labels is not None and data.query_labels is not None
    first = torch.stack([(data.gallery_labels == label).nonzero()[:answers, 0] for label in range(8)])
    query = torch.arange(len(data.query)).repeat_interleave(answers)
    grade = torch.arange(answers, 0, -1).repeat(len(data.query))
    return QrelsTruth(query, first[data.query_labels].flatten(), grade, len(data.query), len(data.gallery), "answers")


def pairs_of(data: EmbeddingSet) -> GradedTruth:
    assert data.query_labels is not None
    left, right = torch.arange(100), torch.arange(100, 200)
    return GradedTruth("pairs", left, right, (data.query_labels[left] == data.query_labels[right]).double())


@pytest.fixture(scope="module")
def arms(planted: Planted) -> dict[str, list[EmbeddingSet]]:
    """A baseline and a blurred arm on two seeds, with qrels and pairs and without labels."""

    def known(data: EmbeddingSet) -> EmbeddingSet:
        return replace(data, gallery_labels=None, query_labels=None, truths=(qrels_of(data), pairs_of(data)))

    how = {"encoder": {"noise": 0.4}, "blurred": {"noise": 2.5, "draw": 1}}
    return {
        name: [known(planted(arm=name, seed=seed, rows=(300, 200), **more)) for seed in (0, 1)]
        for name, more in how.items()
    }


@pytest.fixture(scope="module")
def judged(arms: dict[str, list[EmbeddingSet]]) -> Scorecard:
    return build(arms)


def test_each_truth_has_a_card_of_its_own(judged: Scorecard) -> None:
    (other,) = judged.others
    assert (judged.truth.name, other.truth.name) == ("answers", "pairs")
    for card in (judged, other):
        assert [arm.name for arm in card.arms] == ["encoder", "blurred"]
        assert card.winners[-1].arm == "encoder"
        assert [score.truth.kind for arm in card.arms for score in arm.scores] == [card.truth.kind] * 4
    assert judged.arms[0].scores[0].spectrum is other.arms[0].scores[0].spectrum, "one spectrum serves all truths"


def test_null_models_keep_the_answers_and_are_left_out_where_they_cannot(
    judged: Scorecard, arms: dict[str, list[EmbeddingSet]]
) -> None:
    names = [null.name for null in judged.nulls]
    assert {"subsample", "repeated rows"} <= {*names} and not judged.left_out
    subsample = next(null for null in judged.nulls if null.name == "subsample").scores[0]
    assert subsample.n == 60
    assert subsample.value > judged.arms[0].scores[0].value, "fewer distractors flatter a retrieval"
    assert subsample.truth.key == judged.truth.key

    every = torch.arange(200)
    dense = QrelsTruth(every, every, torch.ones_like(every), queries=200, rows=300)
    first = build({"encoder": [replace(arms["encoder"][0], truths=(dense,))]})
    assert first.left_out == ("subsample", "repeated rows")
    assert not {*first.left_out} & {null.name for null in first.nulls}


def test_arms_of_which_nothing_is_known_keep_the_neighbours_of_the_baseline(planted: Planted) -> None:
    def bare(name: str, **how: object) -> list[EmbeddingSet]:
        return [
            replace(planted(arm=name, seed=seed, rows=(300, 100), **how), gallery_labels=None, query_labels=None)
            for seed in (0, 1)
        ]

    card = build({"encoder": bare("encoder"), "cut": bare("cut", rank=4, dim=4)}, brief=True)
    assert (card.truth.kind, card.truth.measures[0]) == ("neighbours", "overlap@10")
    assert [score.value for score in card.arm("encoder").scores] == [1.0, 1.0]
    assert card.winners[-1].arm == "encoder" and card.winners[-1].distinguishable
    collapsed = [replace(data, gallery=data.gallery[:20].repeat(15, 1)) for data in bare("encoder")]
    doubted = build({"encoder": collapsed, "cut": bare("cut")}, brief=True)
    assert any("repeats rows" in flag for flag in doubted.arm("cut").flags)


def test_one_embedding_is_scored_by_all_that_is_known(planted: Planted) -> None:
    data = planted(rows=(300, 200))
    known = (qrels_of(data), pairs_of(data))
    found = score(gallery=data.gallery, query=data.query, truths=known)
    assert [each.measure for each in (found, *found.others)] == ["ndcg@10", "spearman"]
    card = scorecard_of(replace(data, truths=known))
    assert [each.truth.name for each in (card, *card.others)] == ["labels", "answers", "pairs"]
    assert card.others[0].arms[0].scores[0].value == found.value


def test_a_baseline_of_which_nothing_is_known_is_judged_alike(planted: Planted) -> None:
    data = planted(rows=(300, 200))
    bare = replace(planted(draw=1, rows=(300, 200)), gallery_labels=None, query_labels=None)
    found = score(gallery=data.gallery, query=data.query, truths=(qrels_of(data),), baseline=bare)
    assert found.verdict.facts is not None and found.verdict.facts.whole.other == "encoder"
    changed = score(gallery=data.gallery, query=data.query, baseline=bare)
    assert changed.truth.kind == "neighbours" and changed.value < 1
    other = replace(bare, truths=(replace(qrels_of(data), grade=torch.ones(400).long()),))
    with pytest.raises(
        ValueError, match=r"`baseline` must be judged by the same truths; answers is not the same there"
    ):
        score(gallery=data.gallery, query=data.query, truths=(qrels_of(data),), baseline=other)


def test_arms_with_different_truths_are_refused(arms: dict[str, list[EmbeddingSet]]) -> None:
    fewer = [replace(data, truths=data.truths[:1]) for data in arms["blurred"]]
    with pytest.raises(
        ValueError, match=r"same truths in all arms and seeds; encoder has answers, pairs, blurred has a"
    ):
        build({"encoder": arms["encoder"], "blurred": fewer})


def test_truths_of_one_name_or_about_other_rows_are_refused(planted: Planted) -> None:
    data = planted(rows=(300, 200))
    qrels = qrels_of(data)
    for truths, sentence in (
        ((qrels, qrels), r"`truths` must have different names; answers occurs 2 times"),
        ((replace(qrels, rows=301),), r"answers needs 301 rows in gallery, and there are 300"),
        (
            (replace(pairs_of(data), side="sentences"),),
            r"pairs names the side 'sentences', and there are gallery, query",
        ),
        (
            (replace(pairs_of(data), right=torch.arange(101, 201)),),
            r"pairs needs at least 201 rows in query, and .* 200",
        ),
        ((NeighbourTruth.of(planted(rows=(300, 100))),), r"neighbours needs 100 rows in query, and there are 200"),
    ):
        with pytest.raises(ValueError, match=sentence):
            replace(data, truths=truths)
    with pytest.raises(ValueError, match=r"must be given together; query_labels is None"):
        replace(data, query_labels=None)
