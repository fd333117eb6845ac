# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow", reason="the text extra is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

from lightning_monocon.scorecard.truth_files.qrels import Qrels, judged_rows, read_qrels

JUDGED = [("q2", "d1", 2), ("q1", "d3", 1), ("q2", "d2", 0), ("q1", "01", 3)]
QUERIES, ROWS = np.array(["q1", "q2", "q3"]), np.array(["d1", "d2", "d3", "01"])


def tsv(path: Path) -> None:
    path.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{g}\n" for q, d, g in JUDGED))


def csv(path: Path) -> None:
    path.write_text("qid,other,doc_id,relevance\n" + "".join(f'{q},x,"{d}",{g}\n' for q, d, g in JUDGED))


def trec(path: Path) -> None:
    path.write_text("".join(f"{q} 0 {d}\t{g}\n" for q, d, g in JUDGED) + "\n")


def zipped(path: Path) -> None:
    with gzip.open(path, "wt") as file:
        file.writelines(f"{q}\t0\t{d}\t{g}\n" for q, d, g in JUDGED)


def jsonl(path: Path) -> None:
    keys = ("query_id", "doc_id", "score")
    path.write_text("".join(json.dumps(dict(zip(keys, line, strict=True))) + "\n" for line in JUDGED))


def parquet(path: Path) -> None:
    columns = zip(*JUDGED, strict=True)
    pq.write_table(pa.table(dict(zip(("query-id", "corpus-id", "score"), columns, strict=True))), path)


WRITERS = {
    "test.tsv": tsv,
    "test.csv": csv,
    "test.qrels": trec,
    "dev.tsv": trec,
    "qrels": trec,
    "test.txt.gz": zipped,
    "test.jsonl": jsonl,
    "test.parquet": parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_judgements(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    found = read_qrels(tmp_path / name)
    assert list(zip(found.query_ids, found.row_ids, found.grades.tolist(), strict=True)) == JUDGED


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(("q_id", "doc_id", "score"), id="ranx"),
        pytest.param(("query_id", "doc_id", "relevance"), id="ir_datasets"),
        pytest.param(("qid", "docno", "label"), id="PyTerrier"),
        pytest.param(("query", "docid", "rel"), id="trectools"),
    ],
)
def test_the_column_names_of_other_libraries(tmp_path: Path, columns: tuple[str, str, str]) -> None:
    lines = [columns, *JUDGED]
    (tmp_path / "test.csv").write_text("".join(f'{query},"{row}",{grade}\n' for query, row, grade in lines))
    found = read_qrels(tmp_path / "test.csv")
    assert list(zip(found.query_ids, found.row_ids, found.grades.tolist(), strict=True)) == JUDGED


def test_ids_that_are_integers_in_one_file_and_texts_in_another(tmp_path: Path) -> None:
    pq.write_table(pa.table({"qid": [7, 8], "row": [0, 2], "score": [1, 1]}), tmp_path / "ints.parquet")
    (tmp_path / "texts.tsv").write_text("qid\trow\tscore\n7\t0\t1\n8\t2\t1\n")
    for name in ("ints.parquet", "texts.tsv"):
        qrels = read_qrels(tmp_path / name)
        for queries in (np.array([8, 7]), np.array(["8", "7"])):
            found = judged_rows(qrels, [queries], [np.arange(3)])
            assert (found.query.tolist(), found.row.tolist()) == ([0, 1], [2, 0])


def test_judgements_as_numbers_of_rows() -> None:
    qrels = Qrels(*(tuple(column) for column in list(zip(*JUDGED, strict=True))[:2]), np.array([2.0, 1, 0, 3]))
    found = judged_rows(qrels, [QUERIES], [ROWS[:1], ROWS[1:]])
    torch.testing.assert_close(found.query, torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(found.row, torch.tensor([2, 3, 0, 1]))
    torch.testing.assert_close(found.grade, torch.tensor([1.0, 3, 2, 0], dtype=torch.float64))
    assert found.left_out == 1  # nobody judged a row for q3


def test_queries_without_a_relevant_row_are_counted() -> None:
    qrels = Qrels(("q1", "q1", "q2"), ("d1", "d2", "d1"), np.array([0.0, 0.0, 1.0]))
    assert judged_rows(qrels, [QUERIES], [ROWS]).left_out == 2
    nothing = Qrels(("q1",), ("d1",), np.array([0.0]))
    with pytest.raises(ValueError, match="`qrels` must name a relevant row for at least one query; qrels has no relev"):
        judged_rows(nothing, [QUERIES], [ROWS])


def test_unknown_ids_are_shown() -> None:
    qrels = Qrels(("q1", "q9"), ("d1", "d2"), np.ones(2))
    with pytest.raises(ValueError, match=r"`qrels` must name a query by each id; 1 of 2 ids are unknown: 'q9', and"):
        judged_rows(qrels, [QUERIES], [ROWS])
    qrels = Qrels(("q1", "q1", "q1", "q1"), ("d1", "e1", "e2", "1"), np.ones(4))
    with pytest.raises(ValueError, match=r"`qrels` must name a row of the gallery.* 3 of 4 .*: '1', 'e1', 'e2', and"):
        judged_rows(qrels, [QUERIES], [ROWS])


@pytest.mark.parametrize("header", ["", "query-id\tignored\tcorpus-id\tscore\n"], ids=["trec", "table"])
def test_junk_counts_as_not_relevant_as_in_trec_eval(header: str, tmp_path: Path) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    grades = [-2, -1, 0, 1, 2, -1, 3, 0]
    path = tmp_path / "test.tsv"
    path.write_text(header + "".join(f"q1\t0\td{row}\t{grade}\n" for row, grade in enumerate(grades)))
    found = read_qrels(path)
    assert found.grades.tolist() == [0, 0, 0, 1, 2, 0, 3, 0]
    run, measures = {"q1": {f"d{row}": 1 / (1 + row) for row in range(8)}}, {"ndcg_cut_10", "map_cut_100", "recall_1"}
    known = [{"q1": dict(zip(found.row_ids, map(int, each), strict=True))} for each in (grades, found.grades)]
    scores = [pytrec_eval.RelevanceEvaluator(each, measures).evaluate(run) for each in known]
    assert scores[0] == scores[1]


def test_grades_below_0_are_refused_where_they_are_given() -> None:
    with pytest.raises(ValueError, match=r"`qrels` must hold relevance of at least 0; qrels has -1 in row 0\. Write 0"):
        Qrels(("q1",), ("d1",), np.array([-1.0]))


Edit = Callable[[str], str]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"`qrels` must hold at least one judgement; .*test\.tsv' is empty\."),
        ("\n \n", r"`qrels` must hold at least one judgement; .*test\.tsv' is empty\."),
        (
            "query-id\tcorpus-id\tscore\nq1\td1\t1e19\n",
            r"`qrels` must hold relevance of at most 2\*\*53, .*test\.tsv has 1e\+19 in row 0\. Write smaller",
        ),
        ("query-id\tcorpus-id\tscore\n", "`qrels` must hold pairs; .* has a header and no row"),
        ("query-id\tscore\nq1\t1\n", "which has query-id, score; got corpus-id or corpus_id or doc_id"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t0.5\n", r"`qrels` must hold whole grades .* has 0\.5 in row 0\. Mult"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tyes\n", "`qrels` must name a column of numbers; 'score'"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tnan\n", "`qrels` must name a column of finite numbers; 'score'"),
        ("query-id\tcorpus-id\tscore\nq1\t\t1\n", "'corpus-id' of .* is empty in 1 of 1 rows, the first of them row 0"),
        (
            "q1 0 d1 1\nq1 0 d1 1\n",
            r"`qrels` must judge a row once for a query; .* 'd1' for query 'q1' in the rows 0 and 1",
        ),
        ("q1 0 d1 1\nq1 0 d2\n", "`qrels` must have four fields in every line: .*; line 2 of .* is 'q1 0 d2'"),
        ("q1 0 d1 1\nq1 0 d2 x\n", "`qrels` must have four fields in every line: .*; line 2 of .* is 'q1 0 d2 x'"),
    ],
    ids=[
        "empty",
        "blank",
        "large",
        "header",
        "column",
        "half",
        "word",
        "nan",
        "gap",
        "twice",
        "fields",
        "relevance",
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_qrels(path)


def test_no_file_and_no_judgement(tmp_path: Path) -> None:
    (tmp_path / "a.qrels").touch()
    with pytest.raises(ValueError, match=r"`qrels` must hold at least one judgement; .*a\.qrels' is empty\."):
        read_qrels(tmp_path / "a.qrels")
    with pytest.raises(FileNotFoundError, match="`qrels` must be a file of judgements; there is none at"):
        read_qrels(tmp_path / "none.tsv")
    with pytest.raises(ValueError, match="`qrels` must hold at least one judgement; qrels is empty"):
        Qrels((), (), np.array([]))
