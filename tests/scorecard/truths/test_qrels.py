# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, ndcg_score
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, measure
from lightning_monocon.scorecard.truths import Found, QrelsTruth

ROWS, QUERIES = 300, 40


def grades(seed: int = 0) -> Tensor:
    """Grades 0 to 3 ``(Q, N)``, few of them positive; the last query has no answer."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randint(1, 4, (QUERIES, ROWS), generator=generator)
    found[torch.rand(QUERIES, ROWS, generator=generator) > 0.03] = 0
    found[:, 7] = 1
    found[-1] = 0
    return found


def truth_of(known: Tensor, **more: Any) -> QrelsTruth:
    query, row = known.nonzero(as_tuple=True)
    return QrelsTruth(query, row, known[query, row], queries=len(known), rows=known.shape[1], **more)


def ranking(seed: int = 1) -> tuple[Tensor, Found]:
    """Scores ``(Q, N)`` and the hundred best of them."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(QUERIES, ROWS, generator=generator) + 0.2 * grades()
    nearest = scores.argsort(1, descending=True)
    return scores, Found(torch.empty(ROWS, 1), torch.empty(QUERIES, 1), nearest=nearest[:, :120])


def test_the_measures_agree_with_scikit_learn() -> None:
    known, (scores, found) = grades()[:-1].numpy(), ranking()
    scores = scores[:-1].numpy()
    truth = truth_of(grades())
    values = {name: float(numbers.mean()) for name, numbers in truth.judge(found).items()}
    assert (*values,) == truth.measures
    assert values["ndcg@10"] == pytest.approx(ndcg_score(known, scores, k=10), abs=1e-12)
    right = known > 0
    order = np.argsort(-scores, axis=1)
    for k in (1, 10, 100):
        hits = np.take_along_axis(right, order[:, :k], axis=1).sum(1)
        assert values[f"recall@{k}"] == pytest.approx((hits / right.sum(1)).mean(), abs=1e-12)
    first = np.take_along_axis(right, order, axis=1).argmax(1)
    assert values["mrr@10"] == pytest.approx(np.where(first < 10, 1 / (first + 1), 0).mean(), abs=1e-12)


def test_average_precision_agrees_with_scikit_learn_where_all_is_found() -> None:
    known, scores = grades()[:, :90], ranking()[0][:, :90]
    known[0, 3] = 2
    truth = truth_of(known)
    found = Found(torch.empty(90, 1), torch.empty(QUERIES, 1), nearest=scores.argsort(1, descending=True))
    expected = [average_precision_score(known[q] > 0, scores[q]) for q in truth.judged]
    np.testing.assert_allclose(truth.judge(found)["map@100"], expected, rtol=0, atol=1e-12)


def test_queries_without_an_answer_are_left_out_and_counted() -> None:
    truth = truth_of(grades())
    assert (truth.units, truth.left_out) == (QUERIES - 1, 1)
    assert truth.judge(ranking()[1])["ndcg@10"].shape == (QUERIES - 1,)


def test_excluded_pairs_are_left_out_of_the_ranking() -> None:
    known = grades()
    same = torch.stack([torch.arange(QUERIES), torch.arange(QUERIES) * 2], 1)
    truth = truth_of(known, excluded=same)
    scores, _ = ranking()
    assert truth.depth(ROWS) == 101
    nearest = scores.argsort(1, descending=True)[:, :101]
    values = truth.judge(Found(torch.empty(ROWS, 1), torch.empty(QUERIES, 1), nearest=nearest))
    for q in truth.judged.tolist():
        kept = np.delete(known[q].numpy(), 2 * q), np.delete(scores[q].numpy(), 2 * q)
        assert float(values["ndcg@10"][q]) == pytest.approx(ndcg_score([kept[0]], [kept[1]], k=10), abs=1e-12)


def test_chance_is_the_mean_over_random_orders() -> None:
    truth = truth_of(grades(), excluded=torch.tensor([[0, 7], [1, 3]]))
    generator = torch.Generator().manual_seed(3)
    draws = []
    for _ in range(300):
        order = torch.rand(QUERIES, ROWS, generator=generator).argsort(1)
        draws.append(float(truth.judge(Found(order, order, nearest=order))["ndcg@10"].mean()))
    assert truth.chance == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / 300**0.5)


def test_copies_of_an_answer_are_answers_and_a_lost_one_is_refused() -> None:
    truth = truth_of(grades())
    rows = torch.cat([torch.arange(ROWS).flip(0), truth.answers[:5]])
    moved = truth.onto(rows)
    assert moved is not None and moved.key == truth.key != truth_of(grades(1)).key
    dense = torch.zeros(QUERIES, len(rows), dtype=torch.int64)
    dense[moved.query, moved.row] = moved.grade
    torch.testing.assert_close(dense, grades()[:, rows], rtol=0, atol=0)
    assert truth.onto(torch.arange(8, ROWS)) is None


def test_a_set_is_scored_by_its_qrels() -> None:
    generator = torch.Generator().manual_seed(0)
    gallery, query = torch.randn(ROWS, 8, generator=generator), torch.randn(QUERIES, 8, generator=generator)
    found = measure(EmbeddingSet(gallery, None, query, truths=(truth_of(grades()),)))
    unit = [torch.nn.functional.normalize(part.double(), dim=1) for part in (gallery, query)]
    expected = ndcg_score(grades()[:-1].numpy(), (unit[1] @ unit[0].T)[:-1].numpy(), k=10)
    assert found.measure == "ndcg@10"
    assert found.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"query": torch.tensor([0, 9])}, r"`query` must lie between 0 and 3; got \[9\]"),
        ({"row": torch.tensor([-1, 1])}, r"`row` must lie between 0 and 5; got \[-1\]"),
        ({"grade": torch.tensor([1, -2])}, r"`grade` must not be negative; got -2: write 0"),
        ({"grade": torch.tensor([0, 0])}, r"`grade` must be positive for at least one pair"),
        ({"grade": torch.tensor([1])}, r"`query`, `row` and `grade` must be \(P,\) alike with P >= 1; got \(2,\)"),
        (
            {"query": torch.tensor([1, 1]), "row": torch.tensor([2, 2])},
            r"each pair once; row 2 is named twice for query 1",
        ),
        ({"excluded": torch.tensor([1, 2])}, r"`excluded` must be \(E, 2\), a query and a row each; got \(2,\)"),
        ({"excluded": torch.tensor([[0, 6]])}, r"`excluded` must lie between 0 and 5; got \[6\]"),
    ],
)
def test_qrels_that_do_not_fit_are_named(changes: dict[str, Any], sentence: str) -> None:
    whole = {"query": torch.tensor([0, 1]), "row": torch.tensor([1, 2]), "grade": torch.tensor([1, 1])}
    with pytest.raises(ValueError, match=sentence):
        QrelsTruth(**{**whole, **changes}, queries=4, rows=6)


def test_numbers_must_be_whole() -> None:
    one = torch.tensor([1])
    with pytest.raises(TypeError, match=r"`grade` must hold integers; got torch.float32: cast with `.long\(\)`"):
        QrelsTruth(one, one, torch.ones(1), queries=4, rows=6)
