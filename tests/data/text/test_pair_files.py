# SPDX-License-Identifier: Apache-2.0
import codecs
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the text extra is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

from lightning_monocon.data.text.pair_files import read_pairs, read_scored

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
        ValueError, match=r"of one kind of value; 'a' of .* has a text in row 0 and a number .* in row 1; write both"
    ):
        read_pairs(path, ("a", "b"))


def test_lines_that_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": "x", "b": "y"}\n[1]\n')
    with pytest.raises(ValueError, match=r"`path` must hold one JSON object per line; row 1 of .* is an array"):
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
        with pytest.raises(ValueError, match=r"`path` must (be a whole|hold pairs|hold one JSON)|`columns` must name"):
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


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending != "parquet"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path, ending, [{"a": "one", "b": "two"}, {"a": "three", "b": "four"}])
    opener = gzip.open if ending.endswith(".gz") else open
    with opener(path, "rb") as file:  # type: ignore[operator]
        content = file.read()
    with opener(path, "wb") as file:  # type: ignore[operator]
        file.write(codecs.BOM_UTF8 + content)
    assert read_pairs(path, ("a", "b")) == (["one", "three"], ["two", "four"])
    with opener(path, "wb") as file:  # type: ignore[operator]
        file.write(content.decode().encode("utf-16"))
    with pytest.raises(ValueError, match=r"in UTF-8; .*(is in UTF-16. Save it as UTF-8|can't decode byte 0xff)"):
        read_pairs(path, ("a", "b"))


@pytest.mark.parametrize(
    "layout",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
        pa.dictionary(pa.int64(), pa.string(), ordered=True),
    ],
    ids=str,
)
def test_text_in_every_layout_of_parquet(tmp_path: Path, layout: pa.DataType) -> None:
    texts, path = ["one", "two", "one", "größer"], tmp_path / "lang=en" / "x.parquet"
    path.parent.mkdir()
    columns = {name: pa.array(texts).cast(layout) for name in ("a", "b", "lang")}
    numbers = pa.array(["1", "2", "1", "4.5"]).cast(layout)
    pq.write_table(pa.table({**columns, "score": numbers}), path, row_group_size=2)
    stored = pq.ParquetFile(path).schema_arrow.field("a").type
    assert str(stored).split("<")[0] == str(layout).split("<")[0]  # it does not come back as plain text
    assert read_pairs(path, ("a", "b")) == (texts, texts)
    assert read_pairs(path, ("a", "b"), "lang", "one") == (["one", "one"], ["one", "one"])
    np.testing.assert_array_equal(read_scored(path, ("a", "b", "score")).scores, [1, 2, 1, 4.5])


def doubled(folder: Path, ending: str) -> Path:
    """A file with two columns called b."""
    path = folder / f"x.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_arrays([pa.array([text]) for text in "xyzw"], names=["a", "b", "b", "c"]), path)
    elif ending == "jsonl":
        path.write_text('{"a": "x", "b": "y", "b": "z", "c": "w"}\n')
    else:
        path.write_text("a,b,b,c\nx,y,z,w\n".replace(",", "," if ending == "csv" else "\t"))
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_doubled_column(tmp_path: Path, ending: str) -> None:
    path = doubled(tmp_path, ending)
    for columns, filters in ((("a", "b"), ()), (("a", "c"), ("b", "y"))):
        with pytest.raises(ValueError, match=r"there once; .*x\..* has (2 called 'b'|'b' more than once)\. Rename or"):
            read_pairs(path, columns, *filters)
    assert read_pairs(path, ("a", "c")) == (["x"], ["w"])  # nobody asks for the doubled one


@pytest.mark.parametrize("ending", ["csv", "tsv", "txt", "csv.gz"])
def test_a_header_among_the_rows(tmp_path: Path, ending: str) -> None:
    names = {name: name for name in ROWS[0]}
    path = write(tmp_path, ending, [*ROWS, names, *ROWS])
    with pytest.raises(ValueError, match=r"`path` must hold one header; row 3 of .* repeats it\. Remove that row"):
        read_pairs(path, ("a", "b"))
    with pytest.raises(ValueError, match=r"`path` must hold one header; row 3"):
        read_scored(path, ("a", "b", "score"))
    assert len(read_pairs(write(tmp_path, ending, [{**names, "a": "x"}]), ("a", "b"))) == 1  # one name alone is text


def test_half_a_surrogate_pair(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": "\\ud83d\\ude00", "b": "x"}\n{"a": "y", "b": "z \\ud800", "c": "\\udfff"}\n')
    with pytest.raises(ValueError, match=r"'b' of .*x.jsonl' has half of a surrogate pair in row 1, .* Remove or"):
        read_pairs(path, ("a", "b"))
    assert read_pairs(path, ("a", "a")).first == ["\N{GRINNING FACE}", "y"]  # the others are not looked at


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("bad", [b"\xed\xa0\x80", b"\xfc"], ids=["surrogate", "latin-1"])
def test_text_that_is_not_utf8(tmp_path: Path, ending: str, bad: bytes) -> None:
    path = write(tmp_path, ending, [{"a": f"row {i}", "b": "@@@" if i == 2 else "fine"} for i in range(4)])
    if ending == "parquet":
        cells = pa.array([b"fine", b"fine", bad, b"fine"]).view(pa.string())
        pq.write_table(pa.table({"a": ["x"] * 4, "b": cells}), path, row_group_size=2)
    else:
        path.write_bytes(path.read_bytes().replace(b"@@@", bad))
    with pytest.raises(
        ValueError, match=r"UTF-8; ('b' of .* is not in row 2\. Save the file|row 2 of .* is not one: )"
    ):
        read_pairs(path, ("a", "b"))


def test_a_first_row_without_a_key(tmp_path: Path) -> None:
    rows = [{"a": "lonely"}, {"a": "x", "b": "y", "kind": "kept", "score": 1}, {"a": "u", "b": "v"}]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    with pytest.raises(ValueError, match=r"'b' of .* is empty in 1 of 3 rows, the first of them row 0\. Remove"):
        read_pairs(path, ("a", "b"))
    with pytest.raises(ValueError, match=r"of finite numbers; 'score' of .* has none in row 0"):
        read_scored(path, ("a", "a", "score"))
    assert read_pairs(path, ("a", "b"), "kind", "kept") == (["x"], ["y"])


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_rows_are_counted_in_the_file_not_among_the_kept(tmp_path: Path, ending: str) -> None:
    rows = [ROWS[0], ROWS[1], {**ROWS[2], "b": " "}]
    with pytest.raises(ValueError, match=r"is empty in 1 of 2 rows, the first of them row 2\."):
        read_pairs(write(tmp_path, ending, rows), ("a", "b"), "kind", "entailment")


def test_a_filter_on_lists(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["x"], "b": ["y"], "tags": [["entailment"]]}), tmp_path / "x.parquet")
    with pytest.raises(
        ValueError, match=r"`filter_column` must name a column of single values; 'tags' of .* holds list"
    ):
        read_pairs(tmp_path / "x.parquet", ("a", "b"), "tags", "entailment")


@pytest.mark.parametrize("ending", ["csv.gz", "jsonl.gz"])
def test_a_gzip_file_with_altered_bytes(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path, ending, ROWS * 50)
    content = bytearray(path.read_bytes())
    content[40:60] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"`path` must be a whole .(csv|jsonl) table; .* is not: .*"):
        read_pairs(path, ("a", "b"))


@pytest.mark.parametrize("value", ["[" * 100_000 + "]" * 100_000, "9" * 5000], ids=["deep", "long"])
def test_a_line_that_json_cannot_hold(tmp_path: Path, value: str) -> None:
    (tmp_path / "x.jsonl").write_text(f'{{"a": "x", "b": "y", "c": {value}}}\n')
    with pytest.raises(ValueError, match=r"one JSON object per line, in UTF-8; row 0 of .* is not one"):
        read_pairs(tmp_path / "x.jsonl", ("a", "b"))
