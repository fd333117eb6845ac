# SPDX-License-Identifier: Apache-2.0
"""The scorecard as JSON."""

from __future__ import annotations

import json

from lightning_monocon.scorecard import EmbeddingSet, JudgedScore, Scorecard, as_json, build
from lightning_monocon.scorecard.nulls import NULL_MODELS
from lightning_monocon.scorecard.render.schema import SCHEMA, score_as_json
from lightning_monocon.scorecard.scoring import scorecard_of


def test_json_is_versioned_plain_and_complete(card: Scorecard) -> None:
    plain = json.loads(json.dumps(as_json(card), allow_nan=False))
    assert plain["schema"] == SCHEMA == "lightning-monocon/scorecard/4"
    assert [arm["name"] for arm in plain["arms"]] == ["encoder", "twin", "narrow", "flat"]
    run = plain["arms"][2]["runs"][0]
    assert (run["n99"], run["seed"], run["n"], run["dim"]) == (4, 0, 600, 4)
    assert run["frontier"]["dims"] == [1, 2, 3, 4]
    assert run["frontier"]["knn_accuracy"][-1] == run["knn_accuracy"]
    assert run["recall"]["1"] == run["frontier"]["recall_at_1"][-1]
    assert plain["arms"][3]["runs"][0]["rmse"] is None
    assert plain["arms"][2]["verdict"]["facts"]["rival"]["distinguishable"] is True
    assert [best["k"] for best in plain["winners"]] == plain["dims"]
    assert [null["name"] for null in plain["nulls"]] == list(NULL_MODELS)
    assert run["verdict"] is None  # it is the arm's
    assert list(plain) == [
        *("schema", "origin", "smallest", "graphs", "certificates", "baseline", "stage", "dims", "arms", "winners"),
        "byte_winners",
        *("effects", "nulls", "nulls_left_out", "truth", "others", "alternative"),
    ]


def test_a_score_has_the_verdict_that_it_was_judged_with(sets: dict[str, list[EmbeddingSet]]) -> None:
    alone = scorecard_of(sets["encoder"][0])
    (score,) = alone.arms[0].scores
    assert isinstance(score, JudgedScore)
    plain = score_as_json(score)
    assert "verdict" in plain and "query_labels" not in plain
    assert (plain["constant"], plain["balanced_accuracy"]) == (score.constant, score.balanced_accuracy)
    assert plain["verdict"] == as_json(alone)["arms"][0]["verdict"]
    assert plain["verdict"]["word"] == score.verdict.word == "not judged"


def test_the_same_embeddings_give_the_same_scorecard(sets: dict[str, list[EmbeddingSet]], card: Scorecard) -> None:
    assert as_json(build(sets)) == as_json(card)
