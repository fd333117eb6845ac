# SPDX-License-Identifier: Apache-2.0
"""The scorecard as an evaluator of sentence-transformers, on sentences whose vectors are known."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.neighbors import KNeighborsClassifier

pytest.importorskip("sentence_transformers")

from lightning_monocon.sbert import ScorecardEvaluator
from lightning_monocon.scorecard.truths import GradedTruth, QrelsTruth

N, Q, P, DIM = 60, 24, 12, 8
GALLERY, QUERY, PAIRED = ([f"{kind}{i}" for i in range(n)] for kind, n in (("g", N), ("q", Q), ("p", 2 * P)))
LABELS, ASKED = np.arange(N) % 3, np.arange(Q) % 3


class Model:
    """Knows the vector of each sentence; `model_card_data` keeps what evaluators tell it."""

    def __init__(self, seed: int = 0, noise: float = 0.6, scale: float = 1.0) -> None:
        random = np.random.default_rng(seed)
        centres = np.eye(3, DIM) * 2
        labels = dict(zip([*GALLERY, *QUERY], [*LABELS, *ASKED], strict=True))
        self.rows = {text: centres[label] + noise * random.standard_normal(DIM) for text, label in labels.items()}
        self.rows |= {text: random.standard_normal(DIM) for text in PAIRED}
        self.scale = scale
        self.told: list[dict[str, float]] = []
        self.model_card_data = self

    def encode(self, texts: list[str], **_: Any) -> NDArray[np.float32]:
        return np.stack([self.rows[text] * self.scale for text in texts]).astype(np.float32)

    def set_evaluation_metrics(self, evaluator: Any, metrics: dict[str, float], *_: Any) -> None:
        self.told.append(metrics)


def truths() -> list[Any]:
    query = torch.arange(Q)
    qrels = QrelsTruth(query=query, row=query, grade=torch.ones_like(query), queries=Q, rows=N, name="pairs")
    graded = {side: torch.arange(i, 2 * P, 2) for i, side in enumerate(("left", "right"))}
    return [qrels, GradedTruth("sts", **graded, scores=torch.arange(P) % 5, side="sts sentences")]


def test_labels_alone(tmp_path: Path) -> None:
    model = Model()
    evaluator = ScorecardEvaluator(GALLERY, QUERY, gallery_labels=LABELS, query_labels=ASKED, budgets=[1, 2, 32])  # type: ignore[arg-type]
    found = evaluator(model, str(tmp_path), epoch=1, steps=20)  # type: ignore[arg-type]
    knn = KNeighborsClassifier(5, metric="cosine").fit(model.encode(GALLERY), LABELS)
    assert found["knn_accuracy"] == pytest.approx(knn.score(model.encode(QUERY), ASKED))
    assert found["knn_accuracy_in_32_bytes"] >= found["knn_accuracy"]  # as float32, or as something better
    assert 0 <= found["knn_accuracy_in_1_bytes"] <= found["knn_accuracy_in_2_bytes"] <= 1
    assert evaluator.primary_metric == "knn_accuracy" and evaluator.greater_is_better
    assert model.told == [found]
    evaluator(model, str(tmp_path), epoch=2, steps=40)  # type: ignore[arg-type]
    with (tmp_path / "scorecard_results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["steps"] for line in lines] == ["20", "40"]
    assert lines[0]["verdict"] == "not judged" and "give a baseline" in lines[0]["reason"]
    assert {name: float(lines[0][name]) for name in found} == pytest.approx(found)


@pytest.mark.parametrize(
    "other", [{"budgets": [4, 8]}, {"truths": truths()[:1]}], ids=["other budgets", "another truth"]
)
def test_a_table_of_other_columns_is_refused_before_any_work(
    other: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, Any] = {"gallery_labels": LABELS, "query_labels": ASKED}
    ScorecardEvaluator(GALLERY, QUERY, **known)(Model(), str(tmp_path))  # type: ignore[arg-type]
    file = tmp_path / "scorecard_results.csv"
    before, model = file.read_bytes(), Model()
    evaluator = ScorecardEvaluator(GALLERY, QUERY, **known | other)
    monkeypatch.setattr(model, "encode", lambda *_, **__: pytest.fail("it embedded first"))
    with pytest.raises(
        ValueError, match=r"other columns; .*scorecard_results\.csv differs .*: choose another output folder"
    ):
        evaluator(model, str(tmp_path))  # type: ignore[arg-type]
    assert file.read_bytes() == before
    assert evaluator.latest == ()
    evaluator(Model(), str(tmp_path / "other"))  # type: ignore[arg-type]


def test_several_truths_share_one_call() -> None:
    model = Model()
    evaluator = ScorecardEvaluator(
        GALLERY,
        QUERY,
        gallery_labels=LABELS,  # type: ignore[arg-type]
        query_labels=ASKED,  # type: ignore[arg-type]
        truths=truths(),
        sides={"sts sentences": PAIRED},
        baseline=Model(1),  # type: ignore[arg-type]
        budgets=[4],
        primary="sts_spearman_in_4_bytes",
        name="dev",
    )
    found = evaluator(model)  # type: ignore[arg-type]
    rows = model.encode(PAIRED).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosine, scores = (rows[::2] * rows[1::2]).sum(1), np.arange(P) % 5
    assert found["dev_sts_spearman"] == pytest.approx(spearmanr(cosine, scores)[0], abs=1e-9)
    assert found["dev_sts_pearson"] == pytest.approx(pearsonr(cosine, scores)[0], abs=1e-6)
    gallery, query = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in map(model.encode, (GALLERY, QUERY)))
    rank = (query @ gallery.T > (query @ gallery.T)[np.arange(Q), np.arange(Q)][:, None]).sum(1)
    assert found["dev_pairs_ndcg@10"] == pytest.approx(np.mean(np.where(rank < 10, 1 / np.log2(rank + 2.0), 0)))
    assert found["dev_labels_knn_accuracy"] > 0.9
    assert evaluator.primary_metric == "dev_sts_spearman_in_4_bytes"
    assert [score.truth.name for score in evaluator.latest] == ["labels", "pairs", "sts"]
    assert "not judged" not in {score.verdict.word for score in evaluator.latest}


def test_nothing_but_a_baseline_asks_what_stays() -> None:
    evaluator = ScorecardEvaluator(GALLERY, QUERY, baseline=Model())  # type: ignore[arg-type]
    same = evaluator(Model(scale=3.0))  # type: ignore[arg-type]
    assert same["overlap@10"] == same["first_kept"] == 1.0
    assert evaluator(Model(7))["overlap@10"] < 0.6  # type: ignore[arg-type]


def test_rows_that_are_all_equal_have_no_figures_in_n99() -> None:
    model = Model()
    model.rows = dict.fromkeys(model.rows, np.ones(DIM))
    evaluator = ScorecardEvaluator(GALLERY, QUERY, gallery_labels=LABELS, query_labels=ASKED)  # type: ignore[arg-type]
    found = evaluator(model)  # type: ignore[arg-type]
    assert found["n99"] == 0 and np.isnan(found["knn_accuracy_in_n99"])
    assert evaluator.latest[0].verdict.word == "collapsed"


Arguments = dict[str, Any]
LABELLED: Arguments = {"gallery_labels": LABELS, "query_labels": ASKED}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "`truths` must not be empty without labels and without a baseline"),
        ({**LABELLED, "budgets": [4, 0]}, r"`budgets` must be numbers of bytes from 1 on; got \[4, 0\]"),
        ({**LABELLED, "primary": "accuracy"}, "`primary` must be one of .*knn_accuracy_in_n99.*; got 'accuracy'"),
        ({"truths": truths()[:1] * 2}, "`truths` must have different names; pairs occurs 2 times"),
        ({"gallery_labels": LABELS, "baseline": Model()}, "`gallery_labels` and `query_labels` must be given together"),
        ({"gallery_labels": LABELS}, "`gallery_labels` and `query_labels` must be given together"),
        ({**LABELLED, "query_labels": ASKED[1:]}, r"`query_labels` must hold 24 integers"),
        ({"truths": truths()}, "`truths` must name rows of the set; sts names the side 'sts sentences'"),
    ],
    ids=["nothing known", "budget", "primary", "names", "one side, baseline", "one side", "too few labels", "no side"],
)
def test_what_cannot_be_judged_is_refused(arguments: Arguments, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ScorecardEvaluator(GALLERY, QUERY, **arguments)


def test_a_figure_that_should_fall_says_so() -> None:
    make: Callable[..., ScorecardEvaluator] = ScorecardEvaluator
    evaluator = make(GALLERY, QUERY, **LABELLED, primary="fvu")
    assert not evaluator.greater_is_better
