# SPDX-License-Identifier: Apache-2.0
"""`monocon score`: files of any layout in, one scorecard out, with its refusals in words."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lightning_monocon.cli import main
from lightning_monocon.inference.shards import Rows, ShardFolder, Space

Arrays = dict[str, NDArray[Any]]


def planted(dims: int, noise: float) -> Arrays:
    """Eight classes around centres in ``dims`` of 12 dimensions."""
    random = np.random.default_rng(dims)
    labels = np.random.default_rng(0).integers(0, 8, 600)
    labels[:8] = range(8)
    rows = (np.eye(8, 12)[labels] + noise * random.normal(size=(600, 12))) * (np.arange(12) < dims)
    rows += 1e-4 * random.normal(size=rows.shape)
    rows = rows.astype(np.float32)
    parts = {"gallery": rows[:400], "gallery_labels": labels[:400], "query": rows[400:], "query_labels": labels[400:]}
    return parts


@pytest.fixture
def after() -> Arrays:
    return planted(8, 0.1)


@pytest.fixture
def before() -> Arrays:
    return planted(12, 0.2)


def refused(words: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="2"):
        main(["score", *map(str, words)])
    return capsys.readouterr().err


def test_one_file_alone(tmp_path: Path, after: Arrays, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(after, tmp_path / "mine.safetensors")
    main(["score", str(tmp_path / "mine.safetensors"), "--dims", "2", "4"])
    text = capsys.readouterr().out
    said = " ".join(text.split())
    assert "describes mine alone. The gallery has 400 rows, and there are 200 queries in 8 classes" in said
    assert "mine: not judged (no fault was found, and the figures stand on their own; only whether" in said
    assert "checkpoint rule" not in said and "graph" not in said
    table = next(line for line in text.splitlines() if line.startswith("5-NN % at k"))
    assert table.split()[5:] == ["2", "4", "7", "12"]  # and n99


def test_a_baseline_and_the_report(
    tmp_path: Path, after: Arrays, before: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "after.npz", **after)
    for part in ("gallery", "query"):
        np.save(tmp_path / f"{part}.npy", before[part])
    out = tmp_path / "out"
    files = [str(tmp_path / f"{part}.npy") for part in ("gallery", "query")]
    words = ["score", str(tmp_path / "after.npz"), "--baseline", *files, "--name", "new", "--out", str(out)]
    main([*words, "--index", "hnsw"])
    text = capsys.readouterr().out
    assert "The baseline is gallery." in " ".join(text.split())
    assert "new: compact, but not ahead of PCA. " in text
    assert "Null models" in text
    assert f"Written to {out}/" in text
    card = json.loads((out / "scorecard.json").read_text())
    assert [arm["name"] for arm in card["arms"]] == ["gallery", "new"]
    assert card["origin"]["data"] == str(tmp_path / "after.npz")
    assert [(one["arm"], one["k"]) for one in card["graphs"]] == [("gallery", 12), ("new", 12), ("new", 8)]
    assert all("Searched by a graph" in (out / f"scorecard.{kind}").read_text() for kind in ("md", "html"))
    assert {"scorecard.md", "scorecard.html", "frontier.png"} <= {path.name for path in out.iterdir()}
    assert "http" not in (out / "scorecard.html").read_text().replace("http://www.w3.org", "")


def test_a_graph_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "nowhere.npz"
    assert "`--index` must be hnsw, or the address of a server" in refused([nowhere, "--index", "ivf"], capsys)
    said = refused([nowhere, "--index", "postgresql://me:geheim@127.0.0.1:1/db"], capsys)
    assert "`--index` must be a server that answers; postgresql://me:***@127.0.0.1:1/db says" in said
    monkeypatch.setattr("lightning_monocon.scorecard.graph_index.find_spec", lambda name: None)
    said = refused([tmp_path / "nowhere.npz", "--index", "hnsw"], capsys)
    assert "`--index hnsw` needs FAISS and usearch; faiss is missing" in said


def test_the_folder_that_predict_writes_against_one_without_labels(
    tmp_path: Path, after: Arrays, before: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, arrays, labelled in (("small", after, True), ("old", before, False)):
        shards = ShardFolder(tmp_path / name, Space("m", 1, "safetensors", 1000))
        for part in ("gallery", "query"):
            rows = arrays[part]
            labels = arrays[f"{part}_labels"] if labelled else None
            shards.append(part, Rows(np.arange(len(rows)), rows, labels))
        shards.close(done=True)
    main(["score", str(tmp_path / "small"), "--baseline", str(tmp_path / "old"), "--dims", "3"])
    text = capsys.readouterr().out
    assert "The baseline is old." in " ".join(text.split())
    assert "small: compact, but not ahead of PCA. " in text
    for name, rows in after.items():
        np.save(tmp_path / f"{name}.npy", rows)
    four = [str(tmp_path / f"{name}.npy") for name in ("gallery", "gallery_labels", "query", "query_labels")]
    main(["score", *four, "--baseline", str(tmp_path / "old"), "--dims", "3"])
    assert capsys.readouterr().out.replace("gallery: ", "small: ").count("small: compact, but not ahead of PCA. ") == 1
    main(["score", str(tmp_path / "old"), "--dims", "3"])
    assert "This measures change, not quality" in capsys.readouterr().out


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(
    tmp_path: Path, after: Arrays, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    save_file(after, tmp_path / "mine.safetensors")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit, match="1"):
        main(["score", str(tmp_path / "mine.safetensors"), "--out", str(tmp_path / "out")])
    said = " ".join(capsys.readouterr().err.split())
    assert f" to '{tmp_path / 'out'}' (" in said and "disk full while writing '" in said
    assert said.endswith("earlier files are intact: free space, then give the same command again")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_place_that_is_no_folder_is_refused_before_a_file_is_read(
    inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "file.txt"
    taken.write_text("mine")
    said = refused([tmp_path / "nowhere.npz", "--out", taken / inside], capsys)
    assert f"`--out` must be a folder that can be written; {taken / inside} is not (" in said
    assert taken.read_text() == "mine"


def test_columns_of_parquet_by_name(
    tmp_path: Path, after: Arrays, before: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    words: list[str] = []
    for part in ("gallery", "query"):
        table = {
            "vector": pa.array(after[part].tolist(), type=pa.list_(pa.float32())),
            "old": pa.array(before[part].tolist(), type=pa.large_list(pa.float64())),
            "kind": [f"class {label}" for label in after[f"{part}_labels"]],
        }
        path = tmp_path / f"{part}.parquet"
        parquet.write_table(pa.table(table), path, row_group_size=70)
        words += [f"--{part}", f"{path}:vector", f"--{part}-labels", f"{path}:kind"]
    base = [f"{tmp_path}/{part}.parquet:old" for part in ("gallery", "query")]
    main(["score", *words, "--name", "new", "--dims", "3", "--baseline", *base])
    assert "new: compact, but not ahead of PCA. " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"gallery_labels": np.zeros(399, int)},
            "`gallery_labels` must hold 400 integers, one per embedding",
        ),
        ({"query_labels": np.zeros(200)}, "`query_labels` must be integers; got torch.fl"),
        ({"gallery_labels": np.zeros(400, int)}, "`gallery_labels` must hold at least 2 classes"),
        ({"gallery": np.full((400, 12), np.nan)}, "`gallery` must be finite; 400 of 400 rows hold NaN or infinity"),
        ({"query": np.zeros((200, 5))}, "`query` must have the gallery's 12 dimensions; got 5"),
        ({"query_labels": np.full(200, 99)}, "`query_labels` must share a class with the gallery"),
        ({"gallery": np.zeros((400, 12), int)}, "`gallery` must hold floating-point numbers; got torch.int64"),
    ],
    ids=["lengths", "float labels", "one class", "NaN", "widths", "other classes", "integers"],
)
def test_bad_arrays_are_named(
    tmp_path: Path, after: Arrays, change: Arrays, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "bad.npz", **{**after, **change})
    assert f"monocon: error: {sentence}" in refused([tmp_path / "bad.npz"], capsys)


def test_dimensions_above_the_rank_are_refused(
    tmp_path: Path, after: Arrays, before: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = {**after, "gallery": after["gallery"] * (np.arange(12) < 5), "query": after["query"] * (np.arange(12) < 5)}
    np.savez(tmp_path / "flat.npz", **{name: array.astype(array.dtype.str) for name, array in flat.items()})
    np.savez(tmp_path / "before.npz", **before)
    told = refused([tmp_path / "flat.npz", "--dims", "3", "9"], capsys)
    assert "`dims` must not exceed 5, the gallery's rank" in told
    told = refused([tmp_path / "flat.npz", "--dims", "9", "--baseline", tmp_path / "before.npz"], capsys)
    assert "`dims` must lie between 1 and the gallery's rank, 5, or be the whole width, 12" in told


def test_a_baseline_of_other_rows_is_refused(
    tmp_path: Path, after: Arrays, before: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "after.npz", **after)
    np.savez(tmp_path / "before.npz", **{**before, "query_labels": np.roll(before["query_labels"], 1)})
    told = refused([tmp_path / "after.npz", "--baseline", tmp_path / "before.npz"], capsys)
    assert "`baseline` must hold the same rows in the same order; its query_labels differ in" in told
    for part, rows in (("gallery", 400), ("query", 199)):
        np.save(tmp_path / f"{part}.npy", before[part][:rows])
    told = refused([tmp_path / "after.npz", "--baseline", tmp_path / "gallery.npy", tmp_path / "query.npy"], capsys)
    assert "`baseline` must hold the same rows in the same order; its query has 199 rows, not 200" in told


def test_files_of_unknown_layout_are_refused(tmp_path: Path, after: Arrays, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "odd.npz", vectors=after["gallery"], y=after["gallery_labels"])
    assert (
        "query, query_labels and holds vectors, y. Give the queries in a second file, and without labels or"
        in refused([tmp_path / "odd.npz"], capsys)
    )
    assert "odd.npz lacks labels or label and holds vectors, y. Without labels, give" in refused(
        [f"{tmp_path}/odd.npz:vectors"] * 2, capsys
    )
    (tmp_path / "rows.csv").write_text("1,2\n")
    assert "must end in .npy, .npz, .safetensors, .parquet; got rows.csv" in refused([tmp_path / "rows.csv"], capsys)
    (tmp_path / "corpus.jsonl").write_text('{"_id": "0", "text": "a"}\n')
    for words in ([], ["--qrels", tmp_path / "rows.csv"]):
        said = refused([tmp_path / "corpus.jsonl", tmp_path / "rows.csv", *words], capsys)
        assert "corpus.jsonl: write its rows to a .parquet file with their vectors as column embedding (embed" in said
    assert "must exist; there is none at" in refused([tmp_path / "nowhere.npz"], capsys)
    assert "must be one file with everything, two (gallery, query), or four" in refused(["a.npy"] * 3, capsys)
    assert "either as FILE... or with --gallery, --gallery-labels, --query and --query-labels, not both" in refused(
        ["a.npy", "--gallery", "b.npy"], capsys
    )
    assert "give also --gallery-labels, --query, --query-labels" in refused(["--gallery", "b.npy"], capsys)


def test_files_of_what_is_known(
    tmp_path: Path, after: Arrays, before: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, arrays in (("new", after), ("old", before)):
        save_file({part: arrays[part] for part in ("gallery", "query")}, tmp_path / f"{name}.safetensors")
    qrels, out = tmp_path / "test.qrels", tmp_path / "out"
    qrels.write_text("".join(f"{query} 0 {query + 3} 1\n" for query in range(150)))
    words = [str(tmp_path / "new.safetensors"), "--qrels", str(qrels), "--truth", "neighbours", "--dims", "2"]
    main(["score", *words, "--baseline", str(tmp_path / "old.safetensors"), "--out", str(out)])
    text = " ".join(capsys.readouterr().out.split())
    assert "nDCG@10" in text
    assert "whole vectors of old find" in text
    assert {"frontier.png", "frontier-2.png", "scorecard.html"} <= {path.name for path in out.iterdir()}
    main(["score", *words, "--name", "mine"])
    assert "whole vectors of mine find" in " ".join(capsys.readouterr().out.split())
    qrels.write_text("0 0 90000 1\n0 0 90001 1\n")
    said = refused(words, capsys)
    assert "`qrels` must name a row of the gallery by each id; 2 of 2 ids are unknown: '90000', '90001', and" in said
    assert "neighbours" in refused([*words[:3], "--truth", "labels"], capsys)


def test_a_beir_folder_judges_vectors_and_is_none_itself(
    tmp_path: Path, after: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scifact"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "{row}", "text": "a"}}\n' for row in range(400)))
    (folder / "queries.jsonl").write_text('{"_id": "0", "text": "a"}\n')
    judged = "".join(f"{query}\t{query + 3}\t1\n" for query in range(150))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    save_file({part: after[part] for part in ("gallery", "query")}, tmp_path / "new.safetensors")
    main(["score", str(tmp_path / "new.safetensors"), "--qrels", str(folder), "--dims", "2"])
    assert "nDCG@10" in capsys.readouterr().out

    remedy = f"(docs/scorecard.md shows how), then give the two files of vectors and --qrels {folder}."
    assert remedy in refused([folder], capsys)
    assert remedy in refused([folder, "--qrels", folder], capsys)
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    said = refused([tmp_path / "new.safetensors", "--qrels", folder], capsys)
    assert (
        f"or a BEIR folder with qrels/test.tsv; '{folder}' has none. Name one of its files: {folder}/qrels/dev" in said
    )


def test_the_ids_of_a_beir_folder_may_stand_in_any_column(
    tmp_path: Path, after: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "scifact"
    (folder / "qrels").mkdir(parents=True)
    judged = "".join(f"q{query}\td{query + 3}\t1\n" for query in range(150))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    sides = {"gallery": "d", "query": "q"}
    for side, letter in sides.items():
        rows = len(after[side])
        ids = {"id": range(rows), "key": [f"{letter}{row}" for row in range(rows)]}
        parquet.write_table(pa.table({"embedding": after[side].tolist(), **ids}), tmp_path / f"{side}.parquet")
    words = [*(tmp_path / f"{side}.parquet" for side in sides), "--qrels", folder, "--dims", "2"]
    main(["score", *map(str, words), "--ids", "key"])
    by_key = capsys.readouterr().out
    assert "nDCG@10" in by_key
    assert "150 of 150 ids are unknown: 'q0', 'q1', 'q10', ..., and the embeddings have 0, 1, 2" in refused(
        words, capsys
    )

    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged.translate({100: "", 113: ""}))
    main(["score", *map(str, words)])
    assert capsys.readouterr().out == by_key


def test_neighbours_of_a_baseline_of_other_rows_are_refused_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {name: str(tmp_path / f"{name}.npy") for name in ("rows", "fewer", "query")}
    for name, count in (("rows", 30), ("fewer", 20), ("query", 10)):
        np.save(places[name], np.random.default_rng(count).standard_normal((count, 4)))
    given = [places["rows"], places["query"], "--truth", "neighbours", "--baseline"]
    said = refused([*given, places["fewer"], places["query"]], capsys)
    assert "`baseline` must hold the rows of `files`" in said
    assert "its gallery has 20 rows, that of `files` 30." in said
    assert "its query has 30 rows, that of `files` 10." in refused([*given, places["rows"], places["rows"]], capsys)


def test_an_error_names_the_option_that_was_given(
    tmp_path: Path, after: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, alone, table = tmp_path / "new.safetensors", tmp_path / "g.npy", tmp_path / "q.tsv"
    save_file(after, whole)
    np.save(alone, after["gallery"])
    table.write_text("a\tb\n1\t2\n")
    for words in (["--baseline", alone], ["--baseline", alone, "--truth", "neighbours"]):
        said = refused([whole, *words], capsys)
        assert "`baseline` must" in said and "g.npy" in said and "`files`" not in said
    said = refused([alone, "--truth", "neighbours"], capsys)
    assert "as the arrays gallery and query of one; " in said
    assert "g.npy' alone holds one array without a name. Give the queries in a second file" in said
    for option in ("qrels", "pairs"):
        for file in (table, tmp_path / "none.tsv"):
            said = refused([whole, f"--{option}", file], capsys)
            assert f"`{option}` must" in said and "`path`" not in said and "Posix" not in said


def test_the_help_begins_with_the_four_truths(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["score", "--help"])
    text = capsys.readouterr().out
    said = " ".join(text.split()).partition("options:")[0]
    assert "by class labels, known answers, graded pairs or the neighbours of the whole" in said
    below = text.partition("What judges the vectors")[2]
    places = [below.index(word) for word in ("class labels", "--qrels", "--pairs", "--truth", "With class")]
    assert places == sorted(places)


def test_a_gallery_too_large_for_memory(
    tmp_path: Path, after: Arrays, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows").mkdir()
    for number, part in enumerate(np.split(after["gallery"], [150])):
        labels = np.split(after["gallery_labels"], [150])[number]
        save_file({"embeddings": part, "labels": labels}, tmp_path / "rows" / f"{number}.safetensors")
    save_file({"embeddings": after["query"], "labels": after["query_labels"]}, tmp_path / "q.safetensors")
    words = ["score", str(tmp_path / "rows"), str(tmp_path / "q.safetensors"), "--dims", "2"]
    main(words)
    held = capsys.readouterr().out
    monkeypatch.setattr("lightning_monocon.scorecard.known_files.IN_MEMORY", 100)
    main([*words, "--out", str(tmp_path / "out")])
    streamed = capsys.readouterr().out
    assert streamed.startswith(held)
    assert "correlation.png" not in {path.name for path in (tmp_path / "out").iterdir()}
    assert "`--index` must go with a gallery that fits into memory" in refused([*words[1:], "--index", "hnsw"], capsys)
    message = refused([*words[1:], "--codes", "all"], capsys)
    assert "`--codes` must be fast for a gallery that is read from several files" in message
    assert "monocon shrink" in message


def test_all_codes_are_refused_before_a_file_is_read_or_scored(
    tmp_path: Path, after: Arrays, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(after, tmp_path / "mine.safetensors")
    message = refused([tmp_path / "mine.safetensors", "--codes", "all"], capsys)
    assert "`--codes` all needs a gallery of at least 1,024 rows, on which codes are fitted; got 400" in message
    message = refused([tmp_path / "mine.safetensors", "--codes", "best"], capsys)
    assert "`--codes` must be one of 'fast', 'all'; got 'best'" in message
    monkeypatch.setitem(sys.modules, "faiss", None)
    message = refused([tmp_path / "absent.safetensors", "--codes", "all"], capsys)
    assert "`--codes` all needs the package faiss, which fits pq, opq, residual codes" in message


@pytest.mark.parametrize("words", [["OUT"], ["OUT", "query.npy"], ["rows.npy", "OUT", "--truth", "neighbours"]])
def test_a_folder_of_codes_is_refused_with_what_to_do_instead(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("OUT").mkdir()
    Path("OUT/codec.json").write_text("{}")
    for name in ("rows", "query"):
        np.save(f"{name}.npy", np.eye(30, 4, dtype=np.float32))
    said = " ".join(refused([*words], capsys).split())
    assert "`files` must hold vectors; 'OUT' holds codes. To judge codes by other queries, write" in said
    Path("OUT/shrink.html").touch()
    assert "'OUT' holds codes, whose report is OUT/shrink.html. To judge" in " ".join(refused([*words], capsys).split())
