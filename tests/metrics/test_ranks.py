# SPDX-License-Identifier: Apache-2.0
"""Metrics of real gloo processes, uneven and empty ranks included, equal those of one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.patience import PATIENCE
from processes.metric_ranks import ANSWERS, CASES, HEAD, rows_of

from lightning_monocon.functional import (
    coding_rate,
    effective_dimension,
    explained_variance,
    mean_cosine,
    moments,
    neighbour_scores,
    neural_collapse,
    rate_distortion,
    reconstruction_error,
    total_variance,
    two_nn,
    uniformity,
)
from lightning_monocon.functional.row_keys import row_keys, smallest
from lightning_monocon.heads import certify_neighbours
from lightning_monocon.metrics import NeighbourOverlap, RetrievalScores


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).parents[1] / "processes" / "metric_ranks.py"
    ranks = [subprocess.Popen([sys.executable, str(script), str(rank), str(folder)]) for rank in range(3)]
    assert [process.wait(timeout=PATIENCE) for process in ranks] == [0, 0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(3)]


@pytest.mark.parametrize("case", CASES)
def test_any_split_over_ranks_equals_one_process(results: list[dict[str, Any]], case: str) -> None:
    (gallery, known), (query, truth) = rows_of("gallery"), rows_of("query")
    whole = reconstruction_error(gallery, query, 0.6)
    scores = neighbour_scores(gallery, known, query, truth, 3, (1, 4))
    proved = certify_neighbours(HEAD, gallery, known, query, 0.05, 3)
    right = proved.vote == truth
    shares = (right, right & proved.label, proved.label, proved.nearest)
    names = ("accuracy", "certified_accuracy", "certified_label", "certified_nearest")
    certified = {name: share.float().mean() for name, share in zip(names, shares, strict=True)}
    for result in results[: len(CASES[case][0])]:
        found = result[case]
        for merged, rows in zip(found["moments"], (gallery, query), strict=True):
            for first, second in zip(merged, moments(rows), strict=True):
                torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)
        assert found["EffectiveDimension"] == effective_dimension(gallery, 0.6)
        torch.testing.assert_close(found["MeanCosine"], mean_cosine(gallery).float())
        variances = explained_variance(gallery)
        torch.testing.assert_close(
            found["RateDistortion"], rate_distortion(variances, 0.1 * variances.sum()).float(), rtol=1e-6, atol=0.0
        )
        torch.testing.assert_close(found["CodingRate"], coding_rate(gallery).float(), rtol=1e-6, atol=0.0)
        for name, value in whole._asdict().items():
            torch.testing.assert_close(found["ReconstructionError"][name], value.float())
        assert found["CertifiedAccuracy"] == certified
        assert found["KNNAccuracy"] == scores["knn_accuracy"].float()
        assert found["NeighbourScores"] == {name: value.float() for name, value in scores.items()}
        assert found["RecallAtK"] == {name: scores[name].float() for name in ("recall@1", "recall@4")}
        chosen = smallest(row_keys(gallery), 20)
        bounded = neighbour_scores(gallery[chosen], known[chosen], query, truth, 3, (1, 4))
        sizes = {"gallery_kept": torch.tensor(20.0), "gallery_seen": torch.tensor(60.0)}
        assert found["bounded"] == {name: value.float() for name, value in bounded.items()} | sizes
        assert found["TwoNN"]["two_nn"] == two_nn(gallery[smallest(row_keys(gallery), 25)]).dimension.float()
        torch.testing.assert_close(found["Uniformity"], uniformity(gallery).float())
        collapse = neural_collapse(gallery, known)
        torch.testing.assert_close(found["NeuralCollapse"]["nc1"], collapse.nc1.float(), rtol=1e-6, atol=0.0)
        held, before, after = found["local rows before and after"]
        assert held == before == after


def test_ranks_of_different_width_are_refused_on_every_rank(results: list[dict[str, Any]]) -> None:
    sentence = (
        "`embeddings` must have the same number of features on every rank and in every merged metric; got [3, 4, 5]."
    )
    assert [result["refused"] for result in results] == [sentence] * 3


def test_a_synchronised_step_is_of_all_ranks(results: list[dict[str, Any]]) -> None:
    expected = total_variance(rows_of("gallery")[0]).float()
    for result in results:
        for value in result["on step"]:
            torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("case", CASES)
def test_rankings_with_ties_are_those_of_one_process(results: list[dict[str, Any]], case: str) -> None:
    answered, kept = RetrievalScores(ANSWERS), NeighbourOverlap()
    for role, order in (("query", torch.arange(40).flip(0)), ("gallery", torch.arange(60).flip(0))):
        rows = rows_of(role)[0].round()[order]  # integers, so that many rows are equally near
        answered.update(rows, order, role)
        kept.update(rows, rows[:, :3], role)
    assert 0.02 < answered.compute()["ndcg_at_10"] < 0.9
    for result in results[: len(CASES[case][0])]:
        assert result[case]["answered"] == answered.compute()
        assert result[case]["kept"] == kept.compute()
