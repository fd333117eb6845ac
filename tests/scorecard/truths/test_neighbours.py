# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, measure
from lightning_monocon.scorecard.truths import Found, NeighbourTruth


def rows(count: int, seed: int, dim: int = 16) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def reference() -> EmbeddingSet:
    return EmbeddingSet(rows(400, 0), None, rows(60, 1), arm="full")


def test_a_reference_keeps_its_own_neighbours() -> None:
    truth = NeighbourTruth.of(reference())
    assert truth.warnings == ()
    score = measure(replace(reference(), truths=(truth,)))
    assert score.figures == {"overlap@10": 1.0, "recall@100": 1.0, "rbo": pytest.approx(1.0), "first_kept": 1.0}
    assert score.chance == 10 / 400


def test_the_measures_agree_with_two_searches_of_scikit_learn() -> None:
    whole, truth = reference(), NeighbourTruth.of(reference())
    cut = replace(whole, gallery=whole.gallery[:, :9], query=whole.query[:, :9], truths=(truth,))

    def search(data: EmbeddingSet, k: int) -> np.ndarray:
        index = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(data.gallery.double().numpy())
        return index.kneighbors(data.query.double().numpy(), return_distance=False)

    ours, theirs = search(whole, 10), search(cut, 100)
    figures = measure(cut).figures
    shared = [len({*a} & {*b[:10]}) for a, b in zip(ours, theirs, strict=True)]
    assert figures["overlap@10"] == pytest.approx(np.mean(shared) / 10, abs=1e-12)
    deep = [len({*a} & {*b}) for a, b in zip(ours, theirs, strict=True)]
    assert figures["recall@100"] == pytest.approx(np.mean(deep) / 10, abs=1e-12)
    assert figures["first_kept"] == pytest.approx((ours[:, 0] == theirs[:, 0]).mean(), abs=1e-12)
    overlaps = [[len({*a[:d]} & {*b[:d]}) / d for d in range(1, 11)] for a, b in zip(ours, theirs, strict=True)]
    weights = 0.1 * 0.9 ** np.arange(10) + np.eye(10)[9] * 0.9**10
    assert figures["rbo"] == pytest.approx((overlaps @ weights).mean(), abs=1e-12)


def test_by_default_a_set_without_any_answer_is_held_against_itself() -> None:
    score = measure(reference())
    assert (score.truth.kind, score.measure, score.value) == ("neighbours", "overlap@10", 1.0)
    assert score.value_at(4) < 1


@pytest.mark.parametrize(
    ("gallery", "sentence"),
    [
        (rows(20, 0).repeat(20, 1), r"the reference, full, repeats rows \(20 of 400 differ\)"),
        (torch.linspace(-1, 1, 400)[:, None] ** 2 * torch.eye(16)[:1] + torch.eye(16)[1], "collapsed to one direction"),
        (
            rows(400, 0).sign() * torch.tensor([1.0] * 4 + [0.0] * 12),
            r"ties its own neighbours \(60 of 60 queries at 10",
        ),
    ],
    ids=["repeated", "one direction", "ties"],
)
def test_a_reference_that_has_collapsed_is_doubted(gallery: Tensor, sentence: str) -> None:
    truth = NeighbourTruth.of(replace(reference(), gallery=gallery))
    assert any(__import__("re").search(sentence, warning) for warning in truth.warnings)


def test_distractors_may_leave_and_neighbours_may_not() -> None:
    truth = NeighbourTruth.of(reference())
    kept = truth.answers.flip(0)
    moved = truth.onto(kept)
    assert moved is not None and moved.key == truth.key
    torch.testing.assert_close(kept[moved.nearest], truth.nearest, rtol=0, atol=0)
    assert truth.onto(kept[1:]) is None and truth.onto(torch.cat([kept, kept[:1]])) is None


def test_a_small_gallery_has_fewer_neighbours() -> None:
    small = EmbeddingSet(rows(6, 0), None, rows(3, 1))
    assert NeighbourTruth.of(small).measures[0] == "overlap@6"
    assert measure(small).value == 1.0


def test_a_row_that_is_not_found_counts_nothing() -> None:
    truth = NeighbourTruth(torch.tensor([[0, 1]]), rows=6, reference="full")
    found = Found(torch.empty(6, 1), torch.empty(1, 1), nearest=torch.tensor([[5, 0, 4, 3, 2]]))
    values = {name: float(numbers) for name, numbers in truth.judge(found).items()}
    assert values == {
        "overlap@2": 0.5,
        "recall@100": 0.5,
        "rbo": pytest.approx(0.1 * 0.9 * 0.5 + 0.81 * 0.5),
        "first_kept": 0.0,
    }
