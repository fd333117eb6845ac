# SPDX-License-Identifier: Apache-2.0
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the text extra is not installed")


from lightning_monocon.data.pair_files import read_pairs, read_scored

ROWS = [
    {"kind": "entailment", "a": "None", "b": 'He said "two".', "score": 4.5},
    {"kind": "-", "a": "not kept", "b": "x", "score": 0.0},
    {"kind": "entailment", "a": "2020", "b": "größer, als", "score": 1.25},
]
ENDINGS = ["csv", "tsv", "txt", "jsonl", "parquet", "csv.gz", "tsv.gz", "jsonl.gz"]


def write(folder: Path, ending: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    """Write rows as another program would: with the standard library, but for parquet."""
    import csv

    path = folder / f"pairs.1.0.{ending}"
    kind = ending.removesuffix(".gz")
    if kind == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    opener = gzip.open if ending.endswith(".gz") else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:  # type: ignore[operator]
        if kind == "jsonl":
            file.writelines(json.dumps({**row, "nested": [1, "x"]}) + "\n" for row in rows)
        elif kind == "csv":
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines("\t".join(map(str, line)) + "\n" for line in [rows[0], *(row.values() for row in rows)])
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_pairs(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path, ending)
    pairs = read_pairs(path, ("a", "b"), "kind", "entailment")
    assert pairs.first == ["None", "2020"]  # text, whatever it looks like
    assert pairs.second == ['He said "two".', "größer, als"]
    scored = read_scored(path, ("b", "a", "score"))
    assert scored.pairs.second == ["None", "not kept", "2020"]
    np.testing.assert_array_equal(scored.scores, [4.5, 0.0, 1.25])


def test_a_quoted_line_break_in_csv(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", [{"a": "one\ntwo", "b": "x"}])
    assert read_pairs(path, ("a", "b")).first == ["one\ntwo"]


def test_the_same_column_twice(tmp_path: Path) -> None:
    """A sentence and itself, told apart by dropout alone: SimCSE."""
    pairs = read_pairs(write(tmp_path, "tsv"), ("a", "a"))
    assert pairs.first == pairs.second == ["None", "not kept", "2020"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_missing_column(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ValueError, match=r"`columns` must name columns of .*, which has kind, a, b, score.*; got c\.$"):
        read_pairs(write(tmp_path, ending), ("a", "c"))


@pytest.mark.parametrize("ending", ["tsv", "jsonl", "parquet"])
def test_an_empty_cell(tmp_path: Path, ending: str) -> None:
    empty = [ROWS[0], {**ROWS[1], "a": " "}]
    with pytest.raises(ValueError, match=r"'a' of .* is empty in 1 of 2 rows, the first of them row 1\. Remove them"):
        read_pairs(write(tmp_path, ending, empty), ("a", "b"))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_cells_that_are_no_text(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ValueError, match=r"`columns` must name columns of text; 'score' of .* holds double"):
        read_pairs(write(tmp_path, ending), ("a", "score"))
    absent = [{**ROWS[0], "a": None}, ROWS[1]]
    with pytest.raises(ValueError, match=r"'a' of .* is empty in 1 of 2 rows"):
        read_pairs(write(tmp_path, ending, absent), ("a", "b"))


def test_mixed_cells_of_jsonl(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl", [{"a": "x", "b": "y"}, {"a": 3, "b": "y"}])
    with pytest.raises(
        ValueError, match=r"`path` must be a whole .jsonl table; .* is not: .*(tried to convert|got a 'int')"
    ):
        read_pairs(path, ("a", "b"))


def test_lines_that_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": "x", "b": "y"}\n[1]\n')
    with pytest.raises(ValueError, match=r"`path` must hold one JSON object per line"):
        read_pairs(tmp_path / "x.jsonl", ("a", "b"))


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_a_header_without_rows(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    if ending == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(
            pyarrow.table({"a": pyarrow.array([], "string"), "b": pyarrow.array([], "string")}), path
        )
    else:
        path.write_text("a,b\n" if ending == "csv" else "a\tb\n")
    with pytest.raises(ValueError, match=r"`path` must hold pairs; .* has a header and no row"):
        read_pairs(path, ("a", "b"))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "tsv.gz"])
def test_an_empty_or_damaged_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    for content in (b"", b"\x00\xff\xfe{"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"`path` must (be a whole|hold pairs)|`columns` must name columns"):
            read_pairs(path, ("a", "b"))


def test_a_row_with_a_field_too_many(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n1\t2\t3\n")
    with pytest.raises(ValueError, match=r"`path` must be a whole .tsv table; .*Expected 2 columns, got 3"):
        read_pairs(tmp_path / "x.tsv", ("a", "b"))


def test_a_value_that_never_occurs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`filter_value` must occur in 'kind' of .*'entailment', '-'; got 'neutral'"):
        read_pairs(write(tmp_path, "tsv"), ("a", "b"), "kind", "neutral")


@pytest.mark.parametrize("score", ["high", "nan", ""])
def test_scores_that_are_none(tmp_path: Path, score: str) -> None:
    path = write(tmp_path, "tsv", [ROWS[0], {**ROWS[1], "score": score}])
    with pytest.raises(ValueError, match=r"`columns` must name a column of (finite )?numbers; 'score' of"):
        read_scored(path, ("a", "b", "score"))


def test_bad_paths_and_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`path` must end in .csv, .tsv.*; got '.*x.xlsx'"):
        read_pairs(tmp_path / "x.xlsx", ("a", "b"))
    with pytest.raises(FileNotFoundError, match=r"`path` must be a file of pairs; there is none at"):
        read_pairs(tmp_path / "x.tsv", ("a", "b"))
    with pytest.raises(ValueError, match=r"`columns` must name two columns of sentences, got \['a'\]"):
        read_pairs(tmp_path / "x.tsv", ("a",))
    with pytest.raises(ValueError, match=r"`columns` must name two columns of sentences and one of scores"):
        read_scored(tmp_path / "x.tsv", ("a", "b"))
