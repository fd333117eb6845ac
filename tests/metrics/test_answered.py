# SPDX-License-Identifier: Apache-2.0
"""Metrics of known answers and of a reference, against torchmetrics, which holds every score of every query."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric, MetricCollection
from torchmetrics.retrieval import RetrievalMAP, RetrievalMRR, RetrievalNormalizedDCG, RetrievalRecall

from lightning_monocon.functional import DegenerateSampleWarning, Relevance, neighbours
from lightning_monocon.metrics import MRR, NDCG, KNNAccuracy, NeighbourOverlap, RelevantRecall, RetrievalScores

GALLERY, QUERY = 90, 40


def rows(count: int, seed: int, width: int = 4) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def answers(pairs: int = 300, seed: int = 0) -> Relevance:
    """Graded answers by ids: gallery rows have 7, 10, 13..., queries 1000, 999, 998..."""
    chosen = torch.randperm(GALLERY * QUERY, generator=torch.Generator().manual_seed(seed))[:pairs]
    return Relevance(1000 - chosen // GALLERY, 7 + 3 * (chosen % GALLERY), chosen % 4)


def fed(metric: Any, order: int = 0, batch: int = 17) -> Any:
    for role, count, ids in (
        ("query", QUERY, 1000 - torch.arange(QUERY)),
        ("gallery", GALLERY, 7 + 3 * torch.arange(GALLERY)),
    ):
        shuffle = torch.randperm(count, generator=torch.Generator().manual_seed(order))
        for part in shuffle.split(batch):
            metric.update(rows(count, len(role))[part], ids[part], role=role)
    return metric


def judged_by(metric: Metric, relevance: Relevance, binary: bool) -> Tensor:
    """Give torchmetrics the cosine and the grade of every pair of a query with a relevant row."""
    scores = normalize(rows(QUERY, len("query")).double()) @ normalize(rows(GALLERY, len("gallery")).double()).T
    grades = torch.zeros(QUERY, GALLERY, dtype=torch.int64)
    grades[1000 - relevance.query, (relevance.row - 7) // 3] = relevance.grade.long()
    some = (grades > 0).any(1)
    grades = (grades > 0).long() if binary else grades
    queries = torch.arange(QUERY)[:, None].expand_as(grades)
    scores = 1.0 + scores  # it takes a relevant row whose score is not positive for irrelevant
    metric.update(scores[some].flatten().float(), grades[some].flatten(), indexes=queries[some].flatten())
    value: Tensor = metric.compute()
    return value


@pytest.mark.parametrize("pairs", [60, 900], ids=lambda n: f"pairs={n}")
@pytest.mark.parametrize("k", [1, 10, 50])
def test_against_torchmetrics(k: int, pairs: int) -> None:
    relevance = answers(pairs)
    found = fed(RetrievalScores(relevance, k, k, k, k)).compute()
    close = {"rtol": 0.0, "atol": 1e-6}
    torch.testing.assert_close(
        found[f"ndcg_at_{k}"], judged_by(RetrievalNormalizedDCG(top_k=k), relevance, False), **close
    )
    torch.testing.assert_close(found[f"mrr_at_{k}"], judged_by(RetrievalMRR(top_k=k), relevance, True), **close)
    torch.testing.assert_close(found[f"recall_at_{k}"], judged_by(RetrievalRecall(top_k=k), relevance, True), **close)
    whole = fed(RetrievalScores(relevance, map_k=GALLERY)).compute()[f"map_at_{GALLERY}"]  # its cut divides by hits
    torch.testing.assert_close(whole, judged_by(RetrievalMAP(), relevance, True), **close)


def test_one_figure_alone_is_the_one_among_all() -> None:
    together = fed(RetrievalScores(answers())).compute()
    assert list(together) == ["ndcg_at_10", "mrr_at_10", "map_at_100", "recall_at_1", "recall_at_10", "recall_at_100"]
    alone = fed(MetricCollection([NDCG(answers()), MRR(answers()), RelevantRecall(answers())]))
    assert len(alone.compute_groups) == 1  # the rows are held once
    assert alone.compute() == {name: value for name, value in together.items() if name != "map_at_100"}


@pytest.mark.parametrize("batch", [1, 13, 90])
def test_ties_are_broken_by_id_whatever_the_order(batch: int) -> None:
    same = torch.ones(GALLERY, 4)
    relevance = Relevance(torch.tensor([5]), torch.tensor([9]), torch.tensor([1]))  # the tenth of equally near rows
    metric = RetrievalScores(relevance)
    metric.update(same[:1], torch.tensor([5]), role="query")
    for part in torch.randperm(GALLERY, generator=torch.Generator().manual_seed(batch)).split(batch):
        metric.update(same[part], part)
    found = metric.compute()
    assert found["mrr_at_10"] == torch.tensor(0.1)
    assert found["recall_at_1"] == 0


def test_an_id_counts_once_and_two_rows_of_one_id_are_refused() -> None:
    metric, once = fed(NDCG(answers())), fed(NDCG(answers())).compute()
    again = rows(GALLERY, len("gallery"))[:5]
    metric.update(again * (1 + 1e-4), 7 + 3 * torch.arange(5))  # what a DistributedSampler repeats
    assert metric.compute() == once
    metric.update(-again[:1], torch.tensor([7]))
    with pytest.raises(ValueError, match=r"`ids` must name each gallery row once; id 7 has two different rows. Pass"):
        metric.compute()


def test_a_query_does_not_find_itself() -> None:
    data = rows(60, 3)
    near = neighbours(data, None, 1).indices[:, 0]
    relevance = Relevance(torch.arange(60), near, torch.ones(60))
    for exclude, value in ((True, 1.0), (False, 0.5)):
        metric = MRR(relevance, exclude_own_id=exclude)
        metric.update(data, torch.arange(60), role="gallery")
        metric.update(data, torch.arange(60), role="query")
        assert metric.compute() == {"mrr_at_10": torch.tensor(value)}


def test_a_gallery_that_is_smaller_than_k_is_found_whole() -> None:
    metric = RelevantRecall(Relevance(torch.tensor([0, 0]), torch.tensor([1, 0]), torch.ones(2)), exclude_own_id=True)
    metric.update(torch.eye(3), torch.arange(3), role="gallery")
    metric.update(torch.eye(3), torch.arange(3), role="query")
    assert list(metric.compute().values()) == [0.5, 0.5, 0.5]  # row 0 is the query itself


def test_queries_without_answers_are_left_out_and_none_is_nan_with_its_cause() -> None:
    metric = MRR(Relevance(torch.tensor([1, 2, 8]), torch.tensor([0, 0, 5]), torch.tensor([1, -3, 1])))
    metric.update(torch.eye(3), torch.arange(3), role="gallery")
    with pytest.warns(DegenerateSampleWarning, match="A search needs gallery and query rows, got 3 and 0"):
        assert metric.compute()["mrr_at_10"].isnan()
    metric.update(torch.eye(3)[:1], torch.tensor([2]), role="query")
    with pytest.warns(DegenerateSampleWarning, match="None of the 1 queries has a relevant row"):
        assert metric.compute()["mrr_at_10"].isnan()
    metric.update(torch.eye(3)[:1], torch.tensor([1]), role="query")
    assert metric.compute()["mrr_at_10"] == 1.0  # of one query: the grade of the other is negative


def test_labels_that_equal_ids_in_the_first_batch_do_not_join_the_metrics() -> None:
    collection = MetricCollection(
        [NDCG(Relevance(torch.tensor([0]), torch.tensor([41]), torch.ones(1))), KNNAccuracy(1)]
    )
    places, data = torch.arange(60), rows(60, 1)
    collection.update(embeddings=data[:30], ids=places[:30], labels=places[:30], role="gallery")
    collection.update(embeddings=data[30:], ids=places[30:], labels=places[30:] % 7, role="gallery")
    collection.update(embeddings=data[41:42], ids=places[:1], labels=places[:1], role="query")
    assert collection.compute() == {"ndcg_at_10": torch.tensor(1.0), "KNNAccuracy": torch.tensor(0.0)}


@pytest.mark.parametrize("k", [1, 4])
def test_overlap_against_rankings_of_every_pair(k: int) -> None:
    gallery, query = rows(50, 0, 6), rows(30, 1, 6)
    metric = NeighbourOverlap(k, metric="euclidean")
    for role, data in (("gallery", gallery), ("query", query)):
        for part in torch.arange(len(data)).split(11):
            metric.update(data[part, :2], data[part], role=role)
    mine, theirs = (torch.cdist(query[:, :n], gallery[:, :n]).argsort(1)[:, :k] for n in (2, 6))
    shared = [len({*one} & {*other}) / k for one, other in zip(mine.tolist(), theirs.tolist(), strict=True)]
    found = metric.compute()
    assert found[f"overlap_at_{k}"] == torch.tensor(shared).mean()
    assert found["first_kept"] == (mine[:, 0] == theirs[:, 0]).float().mean()
    assert set(found) == {f"overlap_at_{k}", f"rbo_at_{k}", "first_kept"}


def test_a_collapsed_embedding_keeps_what_chance_keeps() -> None:
    values = set()
    for order in range(4):
        metric = NeighbourOverlap()
        for role, count in (("gallery", 200), ("query", 80)):
            data = rows(count, count)[torch.randperm(count, generator=torch.Generator().manual_seed(order))]
            metric.update(torch.ones(count, 2), data, role=role)
        values.add(metric.compute()["overlap_at_10"].item())
    assert len(values) == 1  # the order of the rows makes no difference
    assert values.pop() == pytest.approx(10 / 200, abs=0.03)


def test_bad_input_is_named() -> None:
    with pytest.raises(TypeError, match=r"`relevance` must be a Relevance\(query, row, grade\) of ids; got dict"):
        NDCG({0: [1]})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`k` must be a positive integer or hold distinct ones"):
        NDCG(answers(), k=(3, 3))
    metric = NDCG(answers())
    with pytest.raises(TypeError, match=r"`ids` must name each embedding by an integer; got None. Pass the samples'"):
        metric.update(torch.eye(3))
    with pytest.raises(ValueError, match="`ids` must hold 3 integers, one per embedding; got shape"):
        metric.update(torch.eye(3), torch.arange(2))
    fed(metric)
    metric.relevance = Relevance(torch.full((5,), 1000), torch.tensor([7, 8, 9, 11, 12]), torch.tensor([1, 1, 1, 1, 0]))
    sentence = (
        "`relevance` must name rows of the gallery; 3 of its ids are not among the 90 rows, such as 8, 9, 11. Add"
    )
    with pytest.raises(ValueError, match=sentence):
        metric.compute()
    overlap = NeighbourOverlap()
    with pytest.raises(ValueError, match="`reference` must have 3 rows, the same inputs as `embeddings`; got 2"):
        overlap.update(torch.eye(3), torch.eye(2))
    with pytest.raises(ValueError, match="`p` must lie between 0 and 1"):
        NeighbourOverlap(p=1.0)
    overlap.update(torch.eye(3), torch.eye(3))
    with pytest.warns(DegenerateSampleWarning, match="A search needs gallery and query rows, got 3 and 0"):
        assert overlap.compute()["first_kept"].isnan()
    overlap.update(torch.eye(3), torch.eye(3), role="query")
    with pytest.raises(ValueError, match="`k` must be an integer from 1 to 3, the rows of the gallery; got 10"):
        overlap.compute()
