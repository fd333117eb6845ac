# SPDX-License-Identifier: Apache-2.0
"""The measures of rankings with known answers equal trec_eval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytrec_eval
import torch
from torch import Tensor

from lightning_monocon.functional import (
    Relevance,
    average_precision,
    grades_of,
    ideal_grades,
    ndcg,
    neighbours,
    recall_at_k,
    reciprocal_rank,
    relevant_recall,
    relevant_rows,
)

MEASURES: list[tuple[Callable[..., Tensor], str, str]] = [
    (ndcg, "ndcg_cut.{}", "ndcg_cut_{}"),
    (average_precision, "map_cut.{}", "map_cut_{}"),
    (relevant_recall, "recall.{}", "recall_{}"),
    (reciprocal_rank, "recip_rank", "recip_rank"),  # of a list that is cut
]


def drawn(queries: int, rows: int, pairs: int, lowest: int, seed: int) -> Relevance:
    """Integer grades, as trec_eval takes them, of pairs in no order."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(queries * rows, pairs, replace=False)
    grade = generator.integers(lowest, 4, pairs)
    return Relevance(*(torch.from_numpy(part) for part in (chosen // rows, chosen % rows, grade)))


def trec_eval(found: Tensor, score: Tensor, known: dict[str, dict[str, int]], kind: str, name: str) -> list[float]:
    """Return a measure of trec_eval for each query; NaN where no row is relevant. It ranks equal scores by name."""
    run = {
        str(query): {f"{9999 - row}": value for row, value in zip(rows, values, strict=True)}
        for query, (rows, values) in enumerate(zip(found.tolist(), score.tolist(), strict=True))
    }
    values: dict[str, Any] = pytrec_eval.RelevanceEvaluator(known, {kind}).evaluate(run)
    some = {query for query, grades in known.items() if any(grade > 0 for grade in grades.values())}
    return [values[query][name] if query in some else np.nan for query in run]


def names_of(relevance: Relevance, grade: Tensor) -> dict[str, dict[str, int]]:
    known: dict[str, dict[str, int]] = {}
    for query, row, value in zip(relevance.query.tolist(), relevance.row.tolist(), grade.tolist(), strict=True):
        known.setdefault(str(query), {})[f"{9999 - row}"] = int(value)
    return known


@pytest.mark.parametrize("k", [1, 3, 10, 100])
@pytest.mark.parametrize("pairs", [40, 400], ids=lambda n: f"pairs={n}")
@pytest.mark.parametrize(("measure", "kind", "name"), MEASURES, ids=lambda value: getattr(value, "__name__", ""))
def test_against_trec_eval(measure: Callable[..., Tensor], kind: str, name: str, pairs: int, k: int) -> None:
    relevance = drawn(queries=60, rows=50, pairs=pairs, lowest=0, seed=pairs)
    generator = torch.Generator().manual_seed(k)
    found = torch.rand(60, 50, generator=generator).argsort(dim=1)[:, :37]  # a gallery of which not all is found
    kept = found[:, :k] if measure is reciprocal_rank else found
    score = -torch.arange(kept.shape[1]).expand(kept.shape)
    expected = trec_eval(kept, score, names_of(relevance, relevance.grade), kind.format(k), name.format(k))
    assert np.isnan(expected).any() == (pairs == 40)
    np.testing.assert_allclose(measure(found, relevance, k), expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize(("measure", "kind", "name"), MEASURES[:3], ids=lambda value: getattr(value, "__name__", ""))
def test_rows_that_are_equally_near_against_trec_eval(
    measure: Callable[..., Tensor], kind: str, name: str, k: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    gallery, query = (torch.randint(3, (rows, 3), generator=generator).float() for rows in (90, 40))
    nearest = neighbours(gallery, query, 90, "euclidean")
    score = -nearest.distances.square().round()
    assert len(score.unique()) < 15  # many rows at each distance
    relevance = drawn(queries=40, rows=90, pairs=500, lowest=0, seed=3)
    expected = trec_eval(nearest.indices, score, names_of(relevance, relevance.grade), kind.format(k), name.format(k))
    np.testing.assert_allclose(measure(nearest.indices, relevance, k), expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(("measure", "kind", "name"), MEASURES[:3], ids=lambda value: getattr(value, "__name__", ""))
def test_negative_grades_against_trec_eval(measure: Callable[..., Tensor], kind: str, name: str) -> None:
    generator = np.random.default_rng(5)
    grade = torch.from_numpy(generator.integers(-2, 3, 200))
    query, row = torch.arange(200) // 20, torch.arange(200) % 20
    found = torch.from_numpy(np.stack([generator.permutation(25) for _ in range(10)]))
    relevance = Relevance(query, row, grade)
    assert int(relevance.grade.min()) == 0
    score = -torch.arange(25).expand(found.shape)
    expected = trec_eval(found, score, names_of(relevance, grade), kind.format(10), name.format(10))
    np.testing.assert_allclose(measure(found, relevance, 10), expected, rtol=0.0, atol=1e-12)


def test_parts_against_a_dense_table() -> None:
    relevance = drawn(queries=30, rows=17, pairs=200, lowest=-1, seed=1)
    table = torch.zeros(30, 17, dtype=torch.float64)
    table[relevance.query, relevance.row] = relevance.grade
    found = torch.rand(30, 17, generator=torch.Generator().manual_seed(1)).argsort(dim=1).to(torch.int32)
    assert torch.equal(grades_of(found, relevance), table.gather(1, found.long()))
    assert torch.equal(ideal_grades(relevance, 30, 17), table.sort(dim=1, descending=True).values)
    assert torch.equal(ideal_grades(relevance, 30, 4), table.sort(dim=1, descending=True).values[:, :4])
    assert torch.equal(relevant_rows(relevance, 30), (table > 0).sum(1))


def test_a_row_beyond_those_that_are_named_is_not_taken_for_another_query() -> None:
    relevance = Relevance(torch.tensor([1]), torch.tensor([2]), torch.tensor([1.0]))
    assert not grades_of(torch.tensor([[5, 0], [5, 0], [5, 0]]), relevance).any()  # 0 * 3 + 5 would be 1 * 3 + 2


def test_a_shift_of_the_grade_counts_and_fractions_do_too() -> None:
    whole = Relevance(torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
    half = Relevance(torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([0.5, 1.0]))
    found = torch.tensor([[0, 1, 2]])
    expected = (1 + 2 / np.log2(3)) / (2 + 1 / np.log2(3))
    for relevance in (whole, half):
        assert float(ndcg(found, relevance)) == pytest.approx(expected, abs=1e-15)
        assert average_precision(found, relevance) == 1.0


def test_classes_as_answers_give_recall_of_labels() -> None:
    generator = torch.Generator().manual_seed(2)
    gallery, query = torch.randn(40, 3, generator=generator), torch.randn(25, 3, generator=generator)
    known, asked = torch.randint(5, (40,), generator=generator), torch.randint(5, (25,), generator=generator)
    same = torch.nonzero(asked[:, None] == known)
    relevance = Relevance(same[:, 0], same[:, 1], torch.ones(len(same)))
    found = neighbours(gallery, query, 7).indices
    hit = relevant_recall(found, relevance, 7) > 0
    assert hit.double().mean() == recall_at_k(gallery, known, query, asked, k=7)[7]


def test_nothing_relevant_and_nothing_asked() -> None:
    nothing = Relevance(*(torch.empty(0, dtype=torch.int64) for _ in range(3)))
    for measure, *_ in MEASURES:
        assert measure(torch.tensor([[0, 1]]), nothing).isnan().all()
        assert measure(torch.empty(0, 4, dtype=torch.int64), nothing).shape == (0,)


@pytest.mark.parametrize(
    ("query", "row", "grade", "sentence"),
    [
        ([0.0], [1], [1], r"`query` must be a tensor of integers; got torch.float32. Cast places with `.long\(\)`"),
        ([0], [True], [1], r"`row` must be a tensor of integers; got torch.bool"),
        ([0], [-1], [1], r"`row` must hold places, which count from 0; got -1"),
        ([[0]], [1], [1], r"`query` must be one-dimensional, one entry for each pair; got shape \(1, 1\)"),
        ([0], [1], [[1]], r"`grade` must be one-dimensional, one entry for each pair; got shape \(1, 1\)"),
        ([0, 1], [1, 1], [1], r"must have one entry for each pair; got 2, 2 and 1"),
        ([0, 1], [1, 1], [1.0, torch.nan], r"`grade` must be finite; 1 of 2 are not. Leave those pairs out"),
        ([3, 0, 3], [5, 5, 5], [1, 1, 2], r"must name each pair once; row 5 is named twice for query 3. Keep one"),
    ],
)
def test_bad_answers_are_named(query: Any, row: Any, grade: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        Relevance(torch.tensor(query), torch.tensor(row), torch.tensor(grade))


@pytest.mark.parametrize(
    ("found", "k", "sentence"),
    [
        (torch.tensor([[0.0, 1.0]]), 2, r"`found` must be a tensor of integers; got torch.float32"),
        (torch.tensor([0, 1]), 2, r"`found` must be \(Q, K\), the nearest rows of each query; got shape \(2,\)"),
        (torch.tensor([[0, -1]]), 2, r"`found` must hold places of gallery rows, which count from 0; got -1"),
        (torch.tensor([[2, 1], [4, 4]]), 2, r"`found` must name each row once in a list; query 1 has row 4 twice"),
        (torch.tensor([[0, 1]]), 0, r"`k` must be a positive integer, how many found rows count; got 0"),
        (torch.tensor([[0, 2**62], [0, 1]]), 1, r"`found` must hold places of gallery rows, not numbers such as 46"),
    ],
)
@pytest.mark.parametrize("measure", [part[0] for part in MEASURES], ids=lambda value: value.__name__)
def test_bad_lists_are_named(measure: Callable[..., Tensor], found: Tensor, k: int, sentence: str) -> None:
    relevance = Relevance(torch.tensor([0]), torch.tensor([1]), torch.tensor([1]))
    with pytest.raises((TypeError, ValueError), match=sentence):
        measure(found, relevance, k)


def test_answers_of_queries_that_nobody_asked_are_refused() -> None:
    relevance = Relevance(torch.tensor([7]), torch.tensor([1]), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"`relevance` must name queries 0 to 1, which were asked; got 7. Give"):
        ndcg(torch.tensor([[0], [1]]), relevance)
    with pytest.raises(TypeError, match="`grade` must be a tensor of numbers; got list"):
        Relevance(torch.tensor([7]), torch.tensor([1]), [1.0])  # type: ignore[arg-type]
