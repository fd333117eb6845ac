# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from helpers.row_pieces import InMemory

from lightning_monocon.scorecard.embeddings import EmbeddingSet, Reading
from lightning_monocon.scorecard.frontier import Frontier
from lightning_monocon.scorecard.render.schema import as_json
from lightning_monocon.scorecard.scores import measure_all
from lightning_monocon.scorecard.scoring import scorecard_of, streamed_scorecard
from lightning_monocon.scorecard.streamed import StreamedSet, measure_streamed
from lightning_monocon.scorecard.truths import GradedTruth, LabelTruth, NeighbourTruth, QrelsTruth


@pytest.fixture(autouse=True)
def no_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is fitted in memory alone."""
    monkeypatch.setattr("lightning_monocon.scorecard.codes.FEWEST_ROWS", 10**9)


@pytest.fixture
def data() -> EmbeddingSet:
    """A gallery of two tiles with repeated rows, and queries of which some are its rows."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(9000) // 300
    gallery = torch.randn(30, 12, generator=draw)[labels] + torch.randn(9000, 12, generator=draw)
    gallery[8000:8200] = gallery[:200]
    query = torch.cat([gallery[:5], gallery[5:60] + 0.5 * torch.randn(55, 12, generator=draw)])
    one = torch.arange(60)
    qrels = QrelsTruth(query=one, row=one, grade=torch.ones_like(one), queries=60, rows=9000)
    pairs = GradedTruth("pairs", one, one.flip(0), torch.rand(60, generator=draw))
    return EmbeddingSet(gallery, labels, query, one // 2, truths=(qrels, pairs), stage="given")


def same(found: object, expected: object) -> None:
    for part in fields(found):  # type: ignore[arg-type]
        ours, theirs = getattr(found, part.name), getattr(expected, part.name)
        if isinstance(ours, torch.Tensor):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        elif isinstance(ours, Frontier):
            same(ours, theirs)
        elif part.name == "values":
            for name in ours:
                torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)
        elif part.name == "rounded":
            for line, other in zip(ours, theirs, strict=True):
                same(line, other)
        elif part.name == "truth":
            assert (ours.kind, ours.key, ours.warnings) == (theirs.kind, theirs.key, theirs.warnings)
        else:
            assert ours == theirs, part.name


@pytest.mark.parametrize("reading", ["pca", "prefix"])
def test_the_scores_equal_those_in_memory(data: EmbeddingSet, reading: Reading) -> None:
    data = replace(data, reading=reading, truths=(*data.truths, NeighbourTruth.of(data)))
    labels = LabelTruth(data.gallery_labels, data.query_labels)
    streamed = StreamedSet(
        InMemory(data.gallery), data.query, (labels, *data.truths[:2]), True, stage="given", reading=reading
    )
    found, expected = measure_streamed(streamed, rounded=True), measure_all(data, rounded=True)
    assert [score.truth.kind for score in found] == ["labels", "qrels", "graded", "neighbours"]
    for score, other in zip(found, expected, strict=True):
        same(score, other)


def test_the_scorecard_written_of_several_truths_is_that_in_memory(data: EmbeddingSet) -> None:
    labels = LabelTruth(data.gallery_labels, data.query_labels)
    streamed = streamed_scorecard(StreamedSet(InMemory(data.gallery), data.query, (labels, *data.truths)), dims=(2,))
    held = scorecard_of(replace(data, stage="last"), dims=(2,))
    assert as_json(streamed) == as_json(held)
    (arm,) = as_json(streamed)["arms"]
    assert [other["truth"]["kind"] for other in arm["runs"][0]["others"]] == ["qrels", "graded"]


def test_rows_of_which_nothing_is_known_and_sizes_that_are_named(data: EmbeddingSet) -> None:
    bare = EmbeddingSet(data.gallery[:7], None, data.query)
    (found,) = measure_streamed(StreamedSet(InMemory(bare.gallery), bare.query), dims=(2, 3))
    (expected,) = measure_all(bare, dims=(2, 3))
    same(found, expected)
    with pytest.raises(ValueError, match="`dims` must not exceed 6, the gallery's rank"):
        measure_streamed(StreamedSet(InMemory(bare.gallery), bare.query), dims=(7,))


@pytest.mark.parametrize("bits", [None, 16, 24], ids=["repeated rows", "16 bits", "24 bits"])
def test_copies_and_codes_are_told_apart_as_in_memory(bits: int | None) -> None:
    """More rows than the sample holds: codes of few bits coincide by chance, and copies of full rows do not."""
    draw = torch.Generator().manual_seed(2)
    gallery, query = torch.randn(20_000, bits or 8, generator=draw), torch.randn(300, bits or 8, generator=draw)
    if bits:
        gallery, query = gallery.sign(), query.sign()
    else:
        gallery[15_000:], query[:40] = gallery[:5000], gallery[:40]
    pairs = GradedTruth("pairs", torch.arange(9), torch.arange(9) + 9, torch.arange(9.0))
    (found,) = measure_streamed(StreamedSet(InMemory(gallery), query, (pairs,)), dims=(2,))
    (expected,) = measure_all(EmbeddingSet(gallery, None, query, truths=(pairs,)), dims=(2,))
    names = ("distinct", "distinct_query", "leaked", "coded")
    assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]
    assert found.coded == (bits is not None) and found.distinct < 20_000
