# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow", reason="the text extra is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

from lightning_monocon.scorecard.truth_files.graded_pairs import (
    PairScores,
    pair_rows,
    read_pair_files,
    read_pair_scores,
)

COLUMNS = {"id1": [0, 2, 1], "id2": [1, 1, 1], "score": [5.0, 0.5, 2.0]}


def written(path: Path, columns: dict[str, list[object]]) -> Path:
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    rows = list(zip(*columns.values(), strict=True))
    if kind == "parquet":
        pq.write_table(pa.table(columns), path)
        return path
    between = {"csv": ",", "tsv": "\t"}.get(kind, "")
    lines = [between.join(map(str, row)) for row in [tuple(columns), *rows]]
    if kind == "jsonl":
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        file.write("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl", "parquet", "tsv.gz", "jsonl.gz"])
def test_every_format_gives_the_same_pairs(tmp_path: Path, ending: str) -> None:
    found = read_pair_scores(written(tmp_path / f"dev.{ending}", COLUMNS))
    assert (found.name, found.by_text) == ("dev", False)
    assert (found.left_ids, found.right_ids) == (("0", "2", "1"), ("1", "1", "1"))
    rows = pair_rows(found, [np.array([2, 1, 0])])
    torch.testing.assert_close(rows.left, torch.tensor([2, 0, 1]))
    torch.testing.assert_close(rows.right, torch.tensor([1, 1, 1]))
    torch.testing.assert_close(rows.score, torch.tensor([5.0, 0.5, 2.0], dtype=torch.float64))


def test_sentences_name_rows_by_their_texts(tmp_path: Path) -> None:
    columns = {"id": [7, 8], "sentence1": ["A b.", "C d"], "sentence2": ["C d", "E, f"], "score": [1, 4]}
    found = read_pair_scores(written(tmp_path / "test.tsv", columns), within=(0, 5))
    assert found.by_text
    rows = pair_rows(found, [np.array(["E, f", "A b."]), np.array(["C d"])])
    assert (rows.left.tolist(), rows.right.tolist()) == ([1, 2], [2, 0])


def test_sets_with_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for folder, name in (("stsb", "dev.tsv"), ("sick", "dev.csv"), ("sick", "test.tsv"), ("old/sick", "dev.csv")):
        (tmp_path / folder).mkdir(exist_ok=True, parents=True)
        paths.append(written(tmp_path / folder / name, COLUMNS))
    assert [found.name for found in read_pair_files(paths)] == [
        "stsb-dev",
        f"{tmp_path.name}-sick-dev",
        "test",
        "old-sick-dev",
    ]
    other = written(tmp_path / "sick" / "dev.tsv", COLUMNS)
    assert [found.name for found in read_pair_files([paths[1], other])] == ["dev.csv", "dev.tsv"]
    with pytest.raises(ValueError, match=r"`pairs` must name each file once; got '.*dev\.tsv' twice\. Leave one out"):
        read_pair_files([paths[0], paths[0]])


def test_pairs_that_name_missing_rows() -> None:
    pairs = PairScores("dev", ("0", "7", "8"), ("1", "9", "1"), np.array([1.0, 2, 3]))
    with pytest.raises(
        ValueError, match=r"`pairs` must name a row by each id; 3 of 5 ids are unknown: '7', '8', '9', and"
    ):
        pair_rows(pairs, [np.arange(5)])


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"id1": [0], "score": [1]}, "got id2 or sentence2"),
        ({"id1": [0, 1], "id2": [1, 2], "score": [1, 9]}, r"scores from 0 to 5; .* has 9 in row 1, the first of 1"),
        ({"id1": [0, 1], "id2": [1, 2], "score": [1, "nan"]}, "finite numbers; 'score' of .* has none in row 1"),
        ({"id1": [0, 1], "id2": [1, 2], "score": [1, 1]}, "at least two different scores, .*; the 2 of dev are equal"),
        (
            {"id1": [0, 1], "sentence2": ["a", "b"], "score": [1, 2]},
            "both rows in one way; .* columns id1 and sentence2",
        ),
    ],
    ids=["column", "range", "nan", "constant", "mixed"],
)
def test_bad_files_are_named(tmp_path: Path, columns: dict[str, list[object]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_pair_scores(written(tmp_path / "dev.tsv", columns), within=(0.0, 5.0))


def test_scores_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match=r"`pairs` must have finite scores; dev has inf in row 1\."):
        PairScores("dev", ("0", "1"), ("1", "0"), np.array([1.0, np.inf]))
