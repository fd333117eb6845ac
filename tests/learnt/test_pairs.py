# SPDX-License-Identifier: Apache-2.0
"""Heads learn from cached vectors with pairs or judgements exactly as from the same vectors put together by hand."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingMetrics
from lightning_monocon.cli import main
from lightning_monocon.cli.trainer import run
from lightning_monocon.data.judged import JudgedData
from lightning_monocon.data.keyed_random import key
from lightning_monocon.learnt import EmbeddingPairs

DIM, ROWS = 6, 60
Batches = list[tuple[Tensor, Tensor]]


def vectors(path: Path, rows: int, *, prefix: str = "", seed: int = 0, **more: object) -> str:
    generator = np.random.default_rng(seed)
    ids = np.array([f"{prefix}{row}" for row in range(rows)])
    np.savez(path, embeddings=generator.normal(size=(rows, DIM)).astype(np.float32), ids=ids, **more)
    return str(path)


def table(path: Path, header: str, lines: list[tuple[object, ...]]) -> str:
    path.write_text("\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n")
    return str(path)


def paired(folder: Path) -> EmbeddingPairs:
    """Thirty pairs of rows, in 22 groups of two rows and four of three."""
    lines: list[tuple[object, ...]] = [(f"a{i}", f"a{i + 30}", 4.0) for i in range(26)]
    lines += [(f"a{i}", f"a{i - 26}", 4.5) for i in range(26, 30)]  # a chain of three rows each
    lines += [("a0", "a1", 1.0), ("a26", "a0", 5.0)]  # one that is not alike, and one that is named twice
    return EmbeddingPairs(
        vectors(folder / "v.npz", ROWS, prefix="a"),
        table(folder / "p.csv", "id1,id2,score", lines),
        least_score=3.0,
        batch_size=12,
        val_size=0.2,
    )


def judged(folder: Path) -> EmbeddingPairs:
    """Twelve queries with three answers each, of which neighbouring queries share one, and one of grade 0."""
    lines = [f"q{query}\td{(2 * query + place) % ROWS}\t{3 - place}" for query in range(12) for place in range(4)]
    (folder / "qrels").mkdir(parents=True)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return EmbeddingPairs(
        vectors(folder / "c.npz", ROWS, prefix="d"),
        queries=vectors(folder / "q.npz", 12, prefix="q", seed=1),
        qrels=str(folder),
        batch_size=10,
        val_size=0.25,
    )


def by_hand(data: EmbeddingPairs, epoch: int) -> Batches:
    """The batches of an epoch, made of plain lists: what is connected is found by walking."""
    pairs, batches = data.pairs.pairs.T.tolist(), []
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(key(data.seed, epoch))).tolist()
    for start in range(0, len(pairs) - data.batch_size + 1, data.batch_size):
        drawn = [pairs[index] for index in order[start : start + data.batch_size]]
        there = {row for pair in drawn for row in pair}
        label = {row: row for row in there}
        for _ in there:
            for one, other in pairs:
                if one in there and other in there:
                    label[one] = label[other] = min(label[one], label[other])
        rows = [first for first, _ in drawn] + [second for _, second in drawn]
        batches.append((data.pairs.rows[rows], torch.tensor([label[row] for row in rows])))
    return batches


@pytest.mark.parametrize("made", [paired, judged])
def test_training_from_the_cache_equals_training_on_the_same_vectors_by_hand(
    made: type[EmbeddingPairs], tmp_path: Path
) -> None:
    data = made(tmp_path)
    data.setup("fit")
    expected = by_hand(data, 0)
    assert any(len(labels.unique()) < len(labels) / 2 for _, labels in expected)  # some pairs are connected
    for (rows, labels), (own, mine) in zip(data.train_dataloader(), expected, strict=True):
        assert torch.equal(rows, own) and torch.equal(labels, mine)

    torch.manual_seed(0)
    model = MonoCon(torch.nn.Identity(), head="mlp", in_features=DIM, out_features=4, warmup_epochs=0, lr_head=1e-2)
    twin, start = deepcopy(model), deepcopy(model)
    quiet = {"accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_checkpointing": False}
    quiet |= {"enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0}
    Trainer(**quiet).fit(model, data)
    Trainer(**quiet).fit(twin, DataLoader(expected, batch_size=None), data.val_dataloader())
    found, same = ({name: value.clone() for name, value in one.state_dict().items()} for one in (model, twin))
    assert found.keys() == same.keys() and all(torch.equal(found[name], same[name]) for name in found)
    assert not any(map(torch.equal, model.head.parameters(), start.head.parameters()))


def test_pairs_of_a_group_are_held_out_together_and_one_row_of_it_searches(tmp_path: Path) -> None:
    data = paired(tmp_path)
    data.setup("fit")
    kept, held = data.pairs.pairs, {int(row) for row in data._answers.row}
    assert kept.shape[1] + len(data._answers.row) >= 30 and len(data._answers.row) <= 6
    rows, asked = data.train.rows.tolist(), data.val.rows.tolist()
    trained = {tuple(row) for row in data.pairs.rows[kept.flatten()].tolist()}
    assert not trained & {tuple(row) for row in asked} and not trained & {tuple(rows[row]) for row in held}
    assert not {tuple(row) for row in rows} & {tuple(row) for row in asked} and len(rows) + len(asked) == ROWS
    # the answers are the partners that the file names
    where = {tuple(row): place for place, row in enumerate(np.load(tmp_path / "v.npz")["embeddings"].tolist())}
    for query, row in zip(data._answers.query.tolist(), data._answers.row.tolist(), strict=True):
        first, second = sorted((where[tuple(asked[query])], where[tuple(rows[row])]))
        assert second - first in (30, 26) or (first == 0 and second == 26)


def test_judgements_hold_out_queries_with_their_grades(tmp_path: Path) -> None:
    data = judged(tmp_path)
    data.setup("fit")
    answers, corpus = data.relevance("val"), np.load(tmp_path / "c.npz")["embeddings"]
    np.testing.assert_array_equal(data.train.rows.numpy(), corpus)
    assert len(data.val) == 3 and answers.query.tolist() == sorted([0, 1, 2] * 3)
    queries = np.load(tmp_path / "q.npz")["embeddings"].tolist()
    for place, row in enumerate(data.val.rows.tolist()):
        number, mine = queries.index(row), answers.query == place
        assert answers.row[mine].tolist() == [2 * number, 2 * number + 1, 2 * number + 2]
        assert answers.grade[mine].tolist() == [3, 2, 1]
    assert data.pairs.pairs.shape == (2, 27) and (data.pairs.pairs[0] >= ROWS).all()
    trained = set(data.pairs.rows[data.pairs.pairs[0]][:, 0].tolist())
    assert len(trained) == 9 and not trained & set(data.val.rows[:, 0].tolist())


def test_a_query_that_is_a_row_of_the_corpus_is_not_its_negative(tmp_path: Path) -> None:
    corpus, queries = vectors(tmp_path / "c.npz", 20, prefix="x"), vectors(tmp_path / "q.npz", 20, prefix="x")
    lines: list[tuple[object, ...]] = [(f"x{query}", f"x{(query + 10) % 20}", 1) for query in range(20)]
    qrels = table(tmp_path / "r.csv", "query-id,corpus-id,score", lines)
    data = EmbeddingPairs(corpus, queries=queries, qrels=qrels, batch_size=8, val_size=0.1)
    data.setup("fit")
    # query 0 has the answer 10, and is row 0, the answer of query 10: all four belong together
    places = {tuple(pair): place for place, pair in enumerate(data.pairs.pairs.T.tolist())}
    number = next(query for query in range(10) if {(20 + query, query + 10), (30 + query, query)} <= places.keys())
    labels = data.pairs.labels(np.array([places[20 + number, number + 10], places[30 + number, number]]))
    assert labels.tolist() == [number, number]
    found = data.judged()
    assert isinstance(data, JudgedData) and found.name == "r" and len(found.same) == len(data.val) == 2
    embeddings = np.load(corpus)["embeddings"]
    for query, row in found.same.tolist():
        assert data.val.rows[query].tolist() == embeddings[row].tolist()


def test_sentences_name_rows_too_and_a_file_without_scores_holds_pairs_alone(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = np.random.default_rng(0).normal(size=(12, DIM)).astype(np.float32)
    frame = pandas.DataFrame({"embedding": list(rows), "text": [f"row {number}" for number in range(12)]})
    frame.to_parquet(tmp_path / "v.parquet")
    file = table(tmp_path / "p.csv", "sentence1,sentence2", [(f"row {i}", f"row {i + 6}") for i in range(6)])
    data = EmbeddingPairs(str(tmp_path / "v.parquet"), file, batch_size=4)
    data.setup("fit")
    assert len(data.pairs) == 5 and (data.pairs.pairs[1] - data.pairs.pairs[0] == 6).all()
    np.testing.assert_array_equal(data.pairs.rows.numpy(), rows)
    with pytest.raises(ValueError, match="the train has no column text or texts"):
        EmbeddingPairs(vectors(tmp_path / "v.npz", 12), file, batch_size=4).setup("fit")


def test_a_train_loader_resumes_within_an_epoch(tmp_path: Path) -> None:
    whole, resumed = paired(tmp_path), paired(tmp_path)
    for data in (whole, resumed):
        data.setup("fit")
    resumed.resume_at(1, 1)
    loader = whole.train_dataloader()
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    for own, other in zip([*loader][1], next(iter(resumed.train_dataloader())), strict=True):
        assert torch.equal(own, other)


def test_a_run_logs_what_the_held_out_queries_find(tmp_path: Path) -> None:
    data = judged(tmp_path)
    model = MonoCon(torch.nn.Identity(), head="linear", in_features=DIM, out_features=4, warmup_epochs=0)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[EmbeddingMetrics()],
    )
    trainer.fit(model, data)
    with torch.no_grad():
        unit = torch.nn.functional.normalize(model.head(data.train.rows).double())
        scores = torch.nn.functional.normalize(model.head(data.val.rows).double()) @ unit.T
    gains = []
    for query, line in enumerate(scores):
        mine = data._answers.query == query
        grade = dict(zip(data._answers.row[mine].tolist(), data._answers.grade[mine].tolist(), strict=True))
        weights = 1 / np.log2(np.arange(2, 12))
        found = [grade.get(row, 0.0) for row in line.argsort(descending=True)[:10].tolist()]
        ideal = sorted(grade.values(), reverse=True)
        gains.append((found @ weights) / (ideal @ weights[: len(ideal)]))
    assert float(trainer.callback_metrics["val/ndcg_at_10"]) == pytest.approx(np.mean(gains), abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"pairs": "missing.csv"}, "must be a file of pairs; there is none at"),
        ({"pairs": "unknown.csv"}, "`pairs` must name a row by each id; 1 of 9 ids are unknown: 'b7'"),
        ({"pairs": "graded.csv"}, "`least_score` must say from which score on a pair belongs together; .* 1 to 5"),
        ({"pairs": "graded.csv", "least_score": 9.0}, "`least_score` must be a score that a pair has; the highest"),
        ({"pairs": "bare.csv", "least_score": 1.0}, "`least_score` must be left out where pairs have no scores"),
        ({"pairs": "self.csv"}, "`pairs` must name two different rows in at least one pair"),
        ({"pairs": "bare.csv", "batch_size": 9}, "`batch_size` must not exceed the 7 train pairs"),
        ({"pairs": "star.csv"}, "`val_size` must leave groups to train on .* there are 1 groups of 8 to 8 pairs"),
        ({"qrels": "zero.csv", "queries": "q.npz"}, "`qrels` must name a relevant row for at least one query"),
        ({"qrels": "far.csv", "queries": "q.npz"}, "`qrels` must name a row of the gallery by each id"),
        (
            {"qrels": "far.csv", "queries": "wide.npz"},
            "`queries` must have vectors of 6 numbers, as `train` has; got 4",
        ),
        ({"qrels": "far.csv"}, "`data` must name `pairs`, or `queries` and `qrels`; got `qrels`"),
        ({}, "`data` must name `pairs`, or `queries` and `qrels`; got none"),
        ({"pairs": "bare.csv", "qrels": "far.csv", "queries": "q.npz"}, "got `pairs`, `queries`, `qrels`"),
        ({"qrels": "far.csv", "queries": "q.npz", "least_score": 1.0}, "`least_score` must be left out without"),
        ({"pairs": "bare.csv", "val_size": 1.0}, "`val_size` must lie strictly between 0 and 1, got 1.0"),
        ({"pairs": "bare.csv", "batch_size": 1}, "`batch_size` must be at least 2 to hold a negative, got 1"),
    ],
)
def test_mistakes_are_named(changed: dict[str, str | float], sentence: str, tmp_path: Path) -> None:
    train = vectors(tmp_path / "v.npz", 40, prefix="a")
    vectors(tmp_path / "q.npz", 3, prefix="q")
    np.savez(tmp_path / "wide.npz", embeddings=np.eye(4, dtype=np.float32), ids=np.array(["q0", "q1", "q2", "q3"]))
    bare: list[tuple[object, ...]] = [(f"a{i}", f"a{i + 20}") for i in range(8)]
    table(tmp_path / "bare.csv", "id1,id2", bare)
    table(tmp_path / "unknown.csv", "id1,id2", [("b7", f"a{i}") for i in range(8)])
    table(tmp_path / "graded.csv", "id1,id2,score", [(*pair, 1 + 4 * (i % 2)) for i, pair in enumerate(bare)])
    table(tmp_path / "self.csv", "id1,id2", [(f"a{i}", f"a{i}") for i in range(8)])
    table(tmp_path / "star.csv", "id1,id2", [("a0", f"a{i}") for i in range(1, 9)])
    table(tmp_path / "zero.csv", "query-id,corpus-id,score", [("q0", "a1", 0), ("q1", "a2", 0)])
    table(tmp_path / "far.csv", "query-id,corpus-id,score", [("q0", "a99", 1)])
    options = {name: str(tmp_path / value) if isinstance(value, str) else value for name, value in changed.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        EmbeddingPairs(train, **({"batch_size": 4} | options)).setup("fit")  # type: ignore[arg-type]


def test_vectors_of_an_encoder_that_failed_are_refused(tmp_path: Path) -> None:
    for data in (paired(tmp_path), judged(tmp_path)):
        path = Path(data.files[0])
        np.savez(path, embeddings=np.zeros((ROWS, DIM), np.float32), ids=np.load(path)["ids"])
        with pytest.raises(ValueError, match=f"`train` must hold vectors that differ; all {ROWS} are zero"):
            data.setup("fit")


def test_a_run_ends_with_what_the_held_out_queries_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, folder = paired(tmp_path), tmp_path / "run"
    words = ["--data.train", data.files[0], "--data.pairs", str(data.files[1]), "--data.least_score=3"]
    words += [f"--model.in_features={DIM}", "--model.out_features=4", "--data.batch_size=12", "--trainer.max_epochs=1"]
    words += ["--trainer.log_every_n_steps=1", "--report=false", "--run-dir", str(folder)]
    found = run(["fit", "--config", "cached_pairs", *words]).trainer.callback_metrics["val/ndcg_at_10"]
    told = f"Last validation: val/ndcg_at_10 {found:.4g}. The run is in {folder}: record.jsonl, checkpoints."
    assert capsys.readouterr().out.splitlines()[-1] == told


def test_a_comparison_judges_arms_by_the_held_out_search(tmp_path: Path) -> None:
    data = paired(tmp_path)
    words = ["--data.train", data.files[0], "--data.pairs", str(data.files[1]), "--data.least_score=3"]
    words += [f"--model.in_features={DIM}", "--model.out_features=4", "--data.batch_size=12", "--trainer.max_epochs=1"]
    words += ["--trainer.log_every_n_steps=1", "--arms", "encoder", "mlp", "--seeds", "0", "--jobs", "1"]
    main(["compare", "--config", "cached_pairs", "--out", str(tmp_path / "out"), *words])
    card = json.loads((tmp_path / "out" / "scorecard.json").read_text())
    assert card["truth"]["kind"] == "qrels" and card["truth"]["name"] == "p" and len(card["arms"]) == 2
