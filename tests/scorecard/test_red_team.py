# SPDX-License-Identifier: Apache-2.0
"""Embeddings and truths that were made to deceive, for each kind of truth: a word, a flag or a refusal names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lightning_monocon.scorecard import (
    Arm,
    EmbeddingSet,
    GradedTruth,
    NeighbourTruth,
    QrelsTruth,
    Scorecard,
    as_json,
    as_text,
    build,
    measure,
)
from lightning_monocon.scorecard.nulls import repeated_rows, shifted_cone, subsample, untrained_head
from lightning_monocon.scorecard.rules import PRAISE
from lightning_monocon.scorecard.scoring import scorecard_of
from lightning_monocon.scorecard.truths import Truth

ROWS, QUERIES, WIDTH = 300, 120, 16
KINDS = ("labels", "qrels", "graded", "neighbours")
ONE = torch.arange(QUERIES)

Make = Callable[[EmbeddingSet], "EmbeddingSet | None"]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def qrels(row: Tensor, rows: int, excluded: Tensor | None = None) -> QrelsTruth:
    """One relevant row for each query."""
    none = torch.empty(0, 2, dtype=torch.int64)
    return QrelsTruth(
        query=ONE,
        row=row,
        grade=torch.ones_like(row),
        queries=QUERIES,
        rows=rows,
        excluded=none if excluded is None else excluded,
    )


def plant(kind: str) -> EmbeddingSet:
    """Return an honest encoder: query i is a noisy view of row i, and pairs are graded by what they mean."""
    meaning = draw(0, ROWS, WIDTH) * torch.linspace(1.5, 0.5, WIDTH)
    data = EmbeddingSet(meaning, None, meaning[:QUERIES] + 0.6 * draw(1, QUERIES, WIDTH), arm="encoder")
    if kind == "labels":
        labels = (meaning[:, :3] > 0).long() @ torch.tensor([1, 2, 4])
        return replace(data, gallery_labels=labels, query_labels=labels[:QUERIES])
    other = (7 * ONE + 3) % QUERIES
    alike = torch.cosine_similarity(meaning[ONE], meaning[other])
    truths: dict[str, Truth] = {
        "qrels": qrels(ONE, ROWS),
        "graded": GradedTruth("pairs", ONE, other, alike),
        "neighbours": NeighbourTruth.of(data),
    }
    return replace(data, truths=(truths[kind],))


def _blind(data: EmbeddingSet) -> EmbeddingSet:
    return replace(data, gallery=draw(2, ROWS, WIDTH), query=draw(3, QUERIES, WIDTH))


def _flat(data: EmbeddingSet) -> EmbeddingSet:
    return replace(data, gallery=torch.ones(ROWS, WIDTH), query=torch.ones(QUERIES, WIDTH))


def _constant(data: EmbeddingSet) -> EmbeddingSet:
    """All queries are one, which is also what constant predictions of graded pairs are."""
    return replace(data, query=data.gallery[:1].repeat(QUERIES, 1))


def _coded(data: EmbeddingSet) -> EmbeddingSet:
    return replace(data, gallery=data.gallery[:, :4].sign(), query=data.query[:, :4].sign())


def _bits_then_reference(data: EmbeddingSet) -> EmbeddingSet:
    """One bit a number ranks first, and what it ties is reranked by the reference itself."""
    gallery, query = (torch.cat([rows.sign(), 0.01 * rows], 1) for rows in (data.gallery, data.query))
    return replace(data, gallery=gallery, query=query)


def _twisted(data: EmbeddingSet) -> EmbeddingSet:
    cone = shifted_cone(data)
    return replace(cone, gallery=torch.cat([-cone.gallery[:3], cone.gallery[3:]]))


def _scaled_copies(data: EmbeddingSet) -> EmbeddingSet | None:
    few = repeated_rows(data)
    return None if few is None else replace(few, gallery=few.gallery * (1 + torch.arange(ROWS)[:, None] % 7))


FAKES: dict[str, Make] = {
    "random rows": _blind,
    "equal rows": _flat,
    "a constant answer": _constant,
    "single bits and ties": _coded,
    "bits, reranked": _bits_then_reference,
    "untrained head": untrained_head,
    "cone": shifted_cone,
    "cone with three rows the other way": _twisted,
    "subsample": subsample,
    "repeated rows": repeated_rows,
    "repeated rows, scaled": _scaled_copies,
}
NO_ROOM = {(name, kind) for name in (*FAKES,)[-3:] for kind in ("qrels", "neighbours")}
"""Galleries that lack answers, which such a truth refuses to judge."""


def judged(fake: EmbeddingSet, data: EmbeddingSet) -> tuple[Scorecard, Arm]:
    card = build({"encoder": [data], "fake": [replace(fake, arm="fake")]}, brief=True)
    return card, card.arm("fake")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAKES)
def test_no_fake_is_praised_or_wins(name: str, kind: str) -> None:
    data = plant(kind)
    fake = FAKES[name](data)
    assert (fake is None) == ((name, kind) in NO_ROOM)
    if fake is not None:
        card, arm = judged(fake, data)
        assert arm.verdict.word not in PRAISE
        wins = {best.k for best in card.winners if best.arm == "fake" and best.distinguishable}
        # a few bits are as good as a few numbers, as rankings go, and the word says that they lose the whole
        assert not wins or (name in ("single bits and ties", "bits, reranked") and max(wins) < WIDTH)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_equal_or_random_have_collapsed(kind: str) -> None:
    data = plant(kind)
    for make in (_blind, _flat):
        assert judged(make(data), data)[1].verdict.word == "collapsed"


def test_constant_predictions_correlate_with_nothing() -> None:
    data = plant("graded")
    card, arm = judged(_constant(data), data)
    assert arm.scores[0].figures == {"spearman": 0.0, "pearson": 0.0} and arm.verdict.word == "collapsed"
    assert {best.arm for best in card.winners} == {"encoder"}
    alone = scorecard_of(_constant(data))
    assert alone.arms[0].verdict.word == "collapsed" and "NaN" not in as_json(alone)


DEGENERATE: dict[str, Callable[[Tensor], Tensor]] = {
    "one direction": lambda rows: rows[:, :1] * torch.ones(WIDTH) + 1e-4 * rows,
    "two points": lambda rows: rows[:, :1].sign() * torch.ones(WIDTH),
    "eight points": lambda rows: torch.cat([rows[:, :3].sign(), torch.zeros(len(rows), WIDTH - 3)], 1),
    "a cone below rounding": lambda rows: 1e3 + 1e-4 * rows,
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_reference_that_has_collapsed_praises_nobody(name: str) -> None:
    """All arms find its neighbours again, because they are decided by one number or by ties."""
    honest = plant("labels")
    change = DEGENERATE[name]
    data = EmbeddingSet(change(honest.gallery), None, change(honest.query), arm="encoder")
    other = replace(data, gallery=3 * data.gallery[:, :8], query=3 * data.query[:, :8])
    card, arm = judged(other, data)
    assert arm.verdict.word in ("collapsed reference", "doubtful reference", "collapsed")
    assert "proves nothing" in as_text(card)
    assert scorecard_of(data).arms[0].verdict.word in ("collapsed", "doubtful reference")


def test_a_smaller_gallery_does_not_win_by_its_better_recall() -> None:
    """Every answer is kept, and most of what could be mistaken for one is not."""
    data = replace(plant("qrels"), query=plant("qrels").gallery[:QUERIES] + 1.5 * draw(4, QUERIES, WIDTH))
    kept = torch.arange(QUERIES + 5)
    few = replace(data, gallery=data.gallery[kept], truths=(qrels(ONE, len(kept)),), arm="few")
    card = build({"encoder": [data], "few": [few]}, with_nulls=False)
    assert card.arm("few").scores[0].value > card.arm("encoder").scores[0].value + 0.05
    assert card.arm("few").verdict.word == "smaller sample"
    named = {*(best.arm for best in card.winners), *(best.arm for best in card.byte_winners)}
    assert named == {"encoder"} and card.smallest is not None and card.smallest.arm == "encoder"
    assert "few has a gallery of another size than encoder" in " ".join(as_text(card).split())
    with pytest.raises(ValueError, match="`baseline` must hold the same rows in the same order; its gallery are 300"):
        scorecard_of(few, data)


def test_queries_among_the_rows_are_excluded_by_id_or_flagged() -> None:
    """Each query finds itself first, so that its one answer comes second."""
    data = plant("qrels")
    gallery, answers = torch.cat([2 * data.query, data.gallery]), ONE + QUERIES
    rows = len(gallery)
    unknown = replace(data, gallery=gallery, truths=(qrels(answers, rows),))
    excluded = replace(data, gallery=gallery, truths=(qrels(answers, rows, torch.stack([ONE, ONE], 1)),))
    own = replace(data, gallery=gallery, truths=(qrels(ONE, rows),))

    flagged, clean, perfect = (scorecard_of(each) for each in (unknown, excluded, own))
    assert [text.split(" (")[0] for text in flagged.arms[0].flags] == ["leak"]
    assert clean.arms[0].flags == () and clean.arms[0].scores[0].leaked == 0
    assert f"{QUERIES} of which skip the gallery row of their own id" in " ".join(as_text(clean).split())
    assert clean.arms[0].scores[0].value > flagged.arms[0].scores[0].value
    assert perfect.arms[0].scores[0].figures["recall@1"] == 1.0
    assert [text.split(" (")[0] for text in perfect.arms[0].flags] == ["leak"]

    # a second copy, whose id is another, is still a leak
    twice = qrels(answers + QUERIES, rows + QUERIES, torch.stack([ONE, ONE], 1))
    again = replace(data, gallery=torch.cat([data.query, gallery]), truths=(twice,))
    assert measure(again).leaked == QUERIES


@pytest.mark.parametrize("kind", KINDS)
def test_repeated_rows_are_flagged_with_what_they_do(kind: str) -> None:
    data = plant(kind)
    half = torch.arange(ROWS) % (ROWS // 2)
    copies = replace(data, gallery=data.gallery[half])
    if kind == "neighbours":
        copies = replace(copies, truths=(NeighbourTruth.of(copies),))
    (text,) = (text for text in scorecard_of(copies).arms[0].flags if text.startswith("repeated rows"))
    assert f"({ROWS // 2} of {ROWS} in the gallery)" in text
    assert {"labels": "the 5 nearest", "graded": "n99 counts"}.get(kind, "the 10 nearest") in text


def test_few_pairs_are_called_pairs() -> None:
    """A cut that keeps what few pairs can see is neither praised nor said to lack queries."""
    data = plant("graded")
    narrow = replace(data, gallery=data.gallery[:, :12], query=data.query[:, :12])
    assert judged(narrow, data)[1].verdict.word == "not enough pairs to tell"


def _reordered(data: EmbeddingSet, order: Tensor) -> EmbeddingSet:
    """Return the same set with the rows of its gallery in another order."""
    place = order.argsort()
    (truth,) = data.truths
    if isinstance(truth, QrelsTruth):
        truth = replace(truth, row=place[truth.row])
    if isinstance(truth, NeighbourTruth):
        truth = replace(truth, nearest=place[truth.nearest])
    return replace(data, gallery=data.gallery[order], truths=(truth,))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_order_of_the_rows_moves_no_figure(kind: str) -> None:
    """Single bits tie most rows, both as vectors and as the stored form of vectors."""
    honest = plant(kind)
    wide = draw(9, WIDTH, 4 * WIDTH)  # so many bits that no two rows are equal
    bits = replace(honest, gallery=(honest.gallery @ wide).sign(), query=(honest.query @ wide).sign())
    assert measure(bits).distinct == ROWS
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(5))
    for data in (honest, bits):
        ours, theirs = (measure(each, rounded=True) for each in (data, _reordered(data, order)))
        for line, other in zip((ours.frontier, *ours.rounded), (theirs.frontier, *theirs.rounded), strict=True):
            assert line.dims == other.dims
            for name, values in line.values.items():
                torch.testing.assert_close(values.mean(1), other.values[name].mean(1), rtol=0, atol=1e-9)


def test_an_answer_that_comes_first_among_equal_rows_does_not_win() -> None:
    """Of ten equal rows one is the answer: each place of it in the file finds it first one time in ten."""
    rows = draw(7, QUERIES, WIDTH)
    query = rows + 0.01 * draw(8, QUERIES, WIDTH)
    for copy in (0, 5, 9):
        truth = qrels(ONE + copy * QUERIES, 10 * QUERIES)
        found = measure(EmbeddingSet(rows.repeat(10, 1), None, query, truths=(truth,)))
        deviation = (0.1 * 0.9 / QUERIES) ** 0.5
        assert found.figures["recall@1"] == pytest.approx(0.1, abs=3 * deviation)
        assert found.figures["recall@10"] == 1.0
