# SPDX-License-Identifier: Apache-2.0
"""`monocon shrink` on every kind of answer, on two domains, after a kill and on odd rows, through the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.patience import PATIENCE

from lightning_monocon.cli import main
from lightning_monocon.codes import load

Rows = np.ndarray

KILLED = """
import os, signal
from lightning_monocon.cli import main
from lightning_monocon.shrink import run
judge, calls = run._values, []
def killed(*args):
    calls.append(args)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return judge(*args)
run._values = killed
main(["shrink", "rows.npy", "--queries", "query.npy", "--budget", "4", "--out", "out"])
"""


@pytest.fixture(autouse=True)
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Rows, Rows]:
    """Return 600 rows and 200 queries of ten classes in 8 numbers, which also lie in files."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    points = (np.eye(8).repeat(100, 0) * 2 + random.normal(size=(800, 8))).astype(np.float32)
    points = points[random.permutation(800)]
    np.save("rows.npy", points[:600])
    np.save("query.npy", points[600:])
    return points[:600], points[600:]


def shrink(*words: str, rows: str = "rows.npy", queries: str = "query.npy", out: str = "out") -> dict[str, Any]:
    main(["shrink", rows, "--queries", queries, "--keep", "0.5", "--out", out, *words])
    found: dict[str, Any] = json.loads(Path(out, "shrink.json").read_text())
    assert {"chosen", "quality", "shortlist", "front", "second"} <= set(found)
    return found


def nearest(rows: Rows, query: Rows, count: int) -> Rows:
    cosines = (query / np.linalg.norm(query, axis=1)[:, None]) @ (rows / np.linalg.norm(rows, axis=1)[:, None]).T
    return np.asarray(np.argsort(-cosines, axis=1)[:, :count])


def test_labels(drawn: tuple[Rows, Rows]) -> None:
    for name, points in zip(("rows", "query"), drawn, strict=True):
        np.savez(f"{name}.npz", embeddings=points, labels=points.argmax(1))
    found = shrink("--labels", "--budget", "4", rows="rows.npz", queries="query.npz")
    quality = found["quality"]
    assert quality["measure"] == "knn_accuracy" and found["shortlist"] is None
    rows, query = drawn
    votes = np.array([np.bincount(row, minlength=8).argmax() for row in rows.argmax(1)[nearest(rows, query, 5)]])
    assert quality["whole"] == pytest.approx((votes == query.argmax(1)).mean(), abs=0.08)  # of the certifying half
    assert quality["certified"] and 0 < quality["low"] < quality["estimate"]


def test_labels_that_the_vectors_do_not_know_are_said(
    drawn: tuple[Rows, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nine in ten labels are one class, whatever the vector; some queries have a class of their own."""
    random = np.random.default_rng(3)
    for name, points in zip(("rows", "query"), drawn, strict=True):
        labels = np.where(random.random(len(points)) < 0.9, 0, random.integers(1, 5, len(points)))
        labels[:7] = 9 if name == "query" else 0
        np.savez(f"{name}.npz", embeddings=points, labels=labels)
    found = shrink("--labels", "--budget", "2", rows="rows.npz", queries="query.npz")
    said = " ".join(capsys.readouterr().out.split())
    assert "There is nothing to keep: whole vectors (5-NN accuracy 0." in said
    assert "are no better than the commonest label (0." in said
    assert any("no better than the commonest label" in note for note in found["notes"])
    assert "7 of 200 queries have a label that no row has, so that no code answers them" in found["notes"]


def test_graded_answers(drawn: tuple[Rows, Rows]) -> None:
    rows, query = drawn
    lines = [
        f"{i} 0 {row} {3 - place}" for i, best in enumerate(nearest(rows, query, 3)) for place, row in enumerate(best)
    ]
    Path("test.qrels").write_text("\n".join(lines) + "\n")
    quality = shrink("--qrels", "test.qrels", "--budget", "4")["quality"]
    assert (quality["measure"], quality["k"]) == ("ndcg@10", 10)
    assert quality["whole"] == pytest.approx(1.0)
    assert 0.3 < quality["low"] < quality["estimate"] < 1


def test_pairs(drawn: tuple[Rows, Rows]) -> None:
    query = drawn[1].astype(np.float64)
    left, right = np.arange(200).repeat(2), np.random.default_rng(1).permutation(400) % 200
    unit = query / np.linalg.norm(query, axis=1)[:, None]
    grades = np.round(5 * (unit[left] * unit[right]).sum(1))  # many are tied
    lines = ["id1\tid2\tscore", *(f"{a}\t{b}\t{grade}" for a, b, grade in zip(left, right, grades, strict=True))]
    Path("pairs.tsv").write_text("\n".join(lines) + "\n")
    quality = shrink("--pairs", "pairs.tsv", "--budget", "4")["quality"]
    assert quality["measure"] == "spearman" and quality["whole"] > 0.9
    assert quality["certified"] and 0.4 < quality["low"] < quality["estimate"] < quality["whole"]
    np.save("both.npy", np.concatenate(drawn))
    again = shrink("--pairs", "pairs.tsv", "--budget", "2", rows="both.npy", out="again")
    assert not any("queries are rows" in note for note in again["notes"])  # nothing is searched


def test_a_code_that_wins_at_home_and_loses_on_the_second_corpus_is_marked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At home two numbers carry nearly everything; on the second corpus only the other six differ."""
    random = np.random.default_rng(2)
    home = random.normal(size=(800, 8)) * [2, 2, *[0.1] * 6]
    np.save("rows.npy", home[:600].astype(np.float32))
    np.save("query.npy", home[600:].astype(np.float32))
    np.save("other.npy", (random.normal(size=(600, 8)) * [0.01, 0.01, *[1.0] * 6]).astype(np.float32))
    found = shrink("--budget", "2", "--second", "other.npy")
    line = found["second"][-1]
    name, rival = line["name"], line["beaten_by"]
    assert found["chosen"]["name"] == name and rival not in (None, name)
    assert f"{name}: is best here, and loses to {rival}" in " ".join(capsys.readouterr().out.split())
    assert f"loses to {rival}" in Path("out/shrink.html").read_text()


def test_doubts_of_the_second_corpus_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("other.npy", np.repeat(np.random.default_rng(4).normal(size=(60, 8)), 10, 0).astype(np.float32))
    found = shrink("--budget", "2", "--second", "other.npy")
    assert any(note.startswith("second corpus: ") for note in found["notes"])
    np.save("equal.npy", np.ones((200, 8), np.float32))
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        shrink("--budget", "2", "--second", "equal.npy", out="again")
    assert "`--second` must hold rows that differ" in capsys.readouterr().err


def test_a_killed_run_gives_the_same_bytes_and_so_does_the_same_seed(tmp_path: Path) -> None:
    words = ["--budget", "4", "--keep", "0.95"]
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, timeout=PATIENCE, env={**os.environ})
    assert done.returncode == -9, done.stderr[-2000:]
    assert {path.stem for path in Path("out/parts").glob("*.safetensors")} == {"whole", "transform-2", "product-2"}
    shrink(*words)
    resumed = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    Path("out").rename("before")
    shrink(*words)
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == resumed


def test_the_page_needs_nothing_else_and_shows_both_figures() -> None:
    shrink("--budget", "4")
    page = Path("out/shrink.html").read_text()
    assert page.count('<img src="data:image/svg+xml;base64,') == 2
    assert "http" not in page.replace("data:image/svg+xml", "") and "<script" not in page
    report = Path("out/shrink.md").read_text()
    for said in ("What is certified", "Which family wins where", "Distance to the limit", "Another domain"):
        assert said in page and said in report
    assert "![" in report and "(shrink-limit.png)" in report


def _constant(rows: Rows) -> Rows:
    return np.hstack([rows[:, :7], np.full((len(rows), 1), 2.0, np.float32)])


def _with_zeros(rows: Rows) -> Rows:
    return np.vstack([np.zeros((3, 8), np.float32), rows[3:]])


ODD: dict[str, Callable[[Rows], Rows]] = {
    "a constant number": _constant,
    "each row six times": lambda rows: np.repeat(rows[:100], 6, 0),
    "rows of zeros": _with_zeros,
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_rows_get_codes(kind: str, drawn: tuple[Rows, Rows]) -> None:
    rows = ODD[kind](drawn[0])
    np.save("rows.npy", rows)
    found = shrink("--budget", "2", "--keep", "0.05")
    codec, codes = load("out"), np.load("out/codes.npy")
    assert 0 < found["quality"]["low"] < 1
    np.testing.assert_array_equal(codec.encode(rows), codes)
    if kind == "rows of zeros":
        assert (codes[:3] == codec.encode(np.zeros((1, 8), np.float32))).all()
        assert np.isfinite(codec.score(drawn[1], codes[:3])).all()


@pytest.mark.filterwarnings("ignore:All 600 rows are equal", "ignore:All 300 rows are equal")
def test_rows_that_are_one_and_queries_without_an_answer_are_refused(
    drawn: tuple[Rows, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = drawn[1].copy()
    broken[3, 2] = np.nan
    refusals = {
        "`VECTORS` must hold rows that differ; all 600 have one direction": (np.ones((600, 8)), drawn[1]),
        "row 3 of query.npy holds NaN": (drawn[0], broken),
        "at least 20 queries or pairs": (drawn[0], drawn[1][:19]),
    }
    for said, (rows, query) in refusals.items():
        np.save("rows.npy", rows.astype(np.float32))
        np.save("query.npy", query)
        with pytest.raises(SystemExit, match="2"):
            shrink("--budget", "2")
        assert said in capsys.readouterr().err
        assert not Path("out").exists()
