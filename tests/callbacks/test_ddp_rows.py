# SPDX-License-Identifier: Apache-2.0
"""Each sample counts once on three real gloo ranks, however the loaders deal them out: the figures of one process."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.scripts import run_ranks
from processes import ddp_rows
from sklearn.neighbors import KNeighborsClassifier

SCRIPT = Path(ddp_rows.__file__)

pytestmark = [
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Your `test_dataloader`'s sampler has shuffling enabled"),
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What three ranks of 22 gallery and 10 query samples found; neither number divides by three."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(SCRIPT, folder)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(ddp_rows.RANKS)]


def assert_same_figures(found: dict[str, float], truth: dict[str, float]) -> None:
    assert set(found) == set(truth) != set()
    for name, value in truth.items():
        assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("way", ddp_rows.WAYS)
def test_metrics_are_those_of_one_process(ranks: list[dict[str, Any]], way: str) -> None:
    truth = ddp_rows.two_loaders(ddp_rows.plain, True, 1)
    with torch.inference_mode():
        (gallery, known), (query, asked) = (ddp_rows.data(*part).tensors for part in ((22, 1), (10, 2)))
        rows, queries = (ddp_rows.model()(part).double().numpy() for part in (gallery, query))
    votes = KNeighborsClassifier(5, algorithm="brute", metric="cosine").fit(rows, known)
    assert truth["test/knn_accuracy"] == pytest.approx(votes.score(queries, asked), abs=1e-6)
    for rank in ranks:
        assert_same_figures(rank[way], truth)


@pytest.mark.parametrize("way", ddp_rows.REFUSED)
def test_an_order_that_no_rank_can_tell_is_refused_on_every_rank(ranks: list[dict[str, Any]], way: str) -> None:
    sentence = ddp_rows.REFUSED[way][2]
    for rank in ranks:
        assert rank[way].startswith("`dataloaders` must")
        assert sentence in rank[way]


@pytest.mark.parametrize("way", ddp_rows.ANSWERED)
def test_known_answers_are_found_as_in_one_process(ranks: list[dict[str, Any]], way: str) -> None:
    truth = ddp_rows.answered(ddp_rows.plain, True, 1)
    assert {"test/ndcg_at_10", "test/encoder/map_at_100", "test/overlap_at_10"} <= set(truth)
    for rank in ranks:
        assert_same_figures(rank[f"answered, {way}"], truth)


def test_one_loader_is_dealt_as_in_one_process(ranks: list[dict[str, Any]]) -> None:
    truth = ddp_rows.one_loader(1)
    assert {"val/knn_accuracy", "val/fvu", "collapse_guard/mean_cosine"} <= set(truth)
    for rank in ranks:
        assert_same_figures(rank["one loader"], truth)


def test_the_guard_judges_the_rows_of_one_process(ranks: list[dict[str, Any]]) -> None:
    truth = ddp_rows.guarded(1)
    assert "collapse_guard/fvu" in truth
    for rank in ranks:
        assert_same_figures(rank["guard"], truth)


def numbers(node: Any) -> list[float]:
    if isinstance(node, dict | list):
        return [number for part in (node.values() if isinstance(node, dict) else node) for number in numbers(part)]
    return [node] if isinstance(node, int | float) else []


def test_the_report_scores_the_rows_of_one_process(ranks: list[dict[str, Any]], tmp_path: Path) -> None:
    truth = numbers(json.loads(ddp_rows.reported(1, tmp_path)))
    assert len(truth) > 50
    assert numbers(json.loads(ranks[0]["report"])) == pytest.approx(truth, rel=1e-6, nan_ok=True)


def test_the_probe_is_drawn_from_the_data_and_not_from_a_share(ranks: list[dict[str, Any]], tmp_path: Path) -> None:
    assert ranks[0]["probe"] == ddp_rows.probed(1, tmp_path) != ""


def test_shards_hold_each_row_once(ranks: list[dict[str, Any]]) -> None:
    source = ddp_rows.data(ddp_rows.QUERY, 2)
    with torch.inference_mode():
        sums = ddp_rows.model()(source.tensors[0]).sum(1).tolist()
    for way, found in ranks[0]["predicted"].items():
        assert found["ids"] == list(range(ddp_rows.QUERY)), way
        assert found["labels"] == source.tensors[1].tolist(), way
        assert found["sums"] == pytest.approx(sums, rel=1e-5), way


@pytest.mark.parametrize("sampled", [False, True])
def test_pairs_are_judged_as_in_one_process(ranks: list[dict[str, Any]], sampled: bool) -> None:
    truth = ddp_rows.paired(1, sampled=False)
    for rank in ranks:
        assert_same_figures(rank[f"pairs, sampled={sampled}"], truth)


def test_a_rank_whose_queries_are_all_repeated_adds_none(ranks: list[dict[str, Any]]) -> None:
    truth = ddp_rows.two_loaders(ddp_rows.plain, True, 1, query=2)
    for rank in ranks:
        assert_same_figures(rank["short"], truth)


def test_an_error_on_one_rank_stops_the_callbacks_on_all(ranks: list[dict[str, Any]]) -> None:
    assert [rank["stopped"] for rank in ranks] == [{}, {}, {}]


def test_a_rank_without_rows_does_not_keep_the_others_waiting(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert rank["few"] == {"labels": [7, 8]}


def test_a_rank_that_fails_tells_the_others(ranks: list[dict[str, Any]]) -> None:
    told = "Rank 1 has failed to embed its share; see its own error message."
    assert [rank["failing"] for rank in ranks] == [told, "only here", told]
