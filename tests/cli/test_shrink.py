# SPDX-License-Identifier: Apache-2.0
"""`monocon shrink`: vectors in, the smallest certified code out, with its refusals in words."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_monocon import codes
from lightning_monocon.cli import main
from lightning_monocon.codes.candidates import FAMILIES, candidates
from lightning_monocon.shrink import run as running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    rows = (random.normal(size=(1400, 16)) * np.linspace(2, 0.2, 16)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows[:1000])
    np.save(tmp_path / "query.npy", rows[1000:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "candidates", partial(candidates, families=FAMILIES[:6]))  # which need no package
    return tmp_path


def shrink(*words: str) -> dict[str, Any]:
    main(["shrink", "rows.npy", "--out", "out", *words])
    found: dict[str, Any] = json.loads(Path("out/shrink.json").read_text())
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        main(["shrink", *words])
    return capsys.readouterr().err


def test_the_smallest_code_that_keeps_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = shrink("--queries", "query.npy", "--keep", "0.7")
    assert "times smaller" in capsys.readouterr().out
    quality, chosen = found["quality"], found["chosen"]
    assert 0.7 <= quality["low"] <= quality["estimate"] and quality["k"] == 10
    smaller = [line for line in found["front"] if line["bytes"] < chosen["bytes_per_vector"]]
    assert smaller and smaller[-1]["quality"]["low"] < 0.75
    assert np.load("out/codes.npy").shape == (1000, chosen["bytes_per_vector"])
    assert found["shortlist"]["length"] >= 10 and found["second"] is None
    assert not Path("out/parts").exists()


def test_a_budget_and_a_second_corpus_and_held_out_queries(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("other.npy", np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32))
    found = shrink("--budget", "6", "--second", "other.npy")
    assert found["chosen"]["bytes_per_vector"] == 4
    assert [line["name"] for line in found["second"]] == [line["name"] for line in found["front"]]
    assert found["rows"]["gallery"] == 800
    codec, ids = codes.load("out"), np.load("out/ids.npy")  # the numbers that the rows have in the file
    rows = torch.from_numpy(np.load("rows.npy")[ids])
    assert len(set(ids)) == 800 and (codec.encode(rows).numpy() == np.load("out/codes.npy")).all()
    said = " ".join(capsys.readouterr().out.split())
    low = found["quality"]["low"]
    assert f"the overlap@10 of {found['chosen']['name']}, the only code that was tested, is at least {low:.3f}," in said
    assert "for queries drawn as these were. The code is not shown to keep 0.95 of the whole" in said
    assert "Both hold together" not in said


def test_a_killed_run_resumes_at_the_next_code_and_ends_with_the_same_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--queries", "query.npy", "--keep", "0.5")
    judge, all_codes = running._values, []

    def counted(*args: Any) -> Any:
        all_codes.append(args)
        return judge(*args)

    monkeypatch.setattr(running, "_values", counted)
    shrink(*words)
    first = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    Path("out").rename("before")

    calls = []

    def killed(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return judge(*args)

    monkeypatch.setattr(running, "_values", killed)
    with pytest.raises(SystemExit, match="130"):
        shrink(*words)
    said = "monocon shrink: stopped; judged codes are kept in out/parts, and the same command resumes.\n"
    assert said in capsys.readouterr().err
    kept = {path.stem for path in Path("out/parts").glob("*.safetensors")} - {"whole"}
    assert 1 < len(kept) < len(all_codes)  # codes that were judged beside the killed one may be among them
    calls[:] = [()] * 3
    shrink(*words)
    assert len(calls) == 3 + len(all_codes) - len(kept)  # the other codes alone
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == first


def test_refusals(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.load("rows.npy")
    np.save("few.npy", rows[:100])
    np.save("narrow.npy", rows[:, :8])
    rows[7, 3] = np.nan
    np.save("broken.npy", rows)
    given = ("rows.npy", "--queries", "query.npy", "--out", "out")
    assert "`--keep` must be a share above 0 and at most 1" in refused(capsys, *given, "--keep", "1.5")
    assert "`--budget` must be at least 1 byte" in refused(capsys, *given, "--budget", "0")
    assert "`--budget` must be at least 2 bytes" in refused(capsys, *given, "--budget", "1")
    assert "at least 512 rows" in refused(capsys, "few.npy", "--queries", "query.npy", "--out", "out")
    said = refused(capsys, "broken.npy", "--queries", "query.npy", "--out", "out")
    assert "row 7" in said and "broken.npy" in said
    assert "`--second` must hold vectors of 16" in refused(capsys, *given, "--second", "narrow.npy")
    assert "`--queries` must have the 16" in refused(capsys, "rows.npy", "--queries", "narrow.npy", "--out", "out")
    assert "`--labels` needs labels" in refused(capsys, *given, "--labels")
    np.save("one.npy", rows[:1])
    assert "`--second` must hold at least 100 rows" in refused(capsys, *given, "--second", "one.npy")
    assert "`VECTORS` must hold at least 100 rows of which a fifth" in refused(capsys, "one.npy", "--out", "out")
    assert "`--seed` must be an integer of 64 bits" in refused(capsys, *given, "--seed", str(2**70))
    said = refused(capsys, *given, "--keep", "0.99")  # 200 certifying queries show .983 of a code that keeps all
    assert "`--keep` must be at most 0.983 where 200 queries certify" in said
    assert "got 0.99: ask for less, or give 682 queries" in said
    assert refused(capsys, *given, "--keep", "1").rstrip().endswith("got 1: ask for less.")  # no number shows it
    assert not Path("out").exists()
    said = refused(capsys, *given, "--keep", "0.98", "--store", "duckdb")
    assert "the surest by the choosing queries, bytes-16 of 16 bytes, keeps" in said
    assert "certifying queries, which does not show 0.98 with confidence 0.95" in said
    assert "unfinished run of other" in refused(capsys, *given, "--seed", "1")


def test_queries_that_are_rows_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("query.npy", np.concatenate([np.load("query.npy")[:90], np.load("rows.npy")[:10]]))
    found = shrink("--queries", "query.npy", "--keep", "0.3")
    assert "10 of 100 queries are rows of VECTORS, which every code finds easily" in found["notes"]


def test_a_certificate_of_rows_that_look_for_themselves_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("query.npy", np.load("rows.npy")[:90])
    shrink("--queries", "query.npy", "--budget", "4")
    said = " ".join(capsys.readouterr().out.split())
    head, certified = said.split("What is certified")
    assert "90 of 90 queries are rows of VECTORS, and a row finds itself by every code: hold them out" in head
    assert "drawn as these were (90 of 90 queries are rows of VECTORS)" in certified.split("The front")[0]


def test_too_few_and_equal_rows_are_told_apart(
    folder: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    rows = np.load("rows.npy")
    np.save("rows520.npy", rows[:520])
    np.save("same.npy", np.ones((300, 16), np.float32) * np.linspace(1, 2, 300, dtype=np.float32)[:, None])
    said = refused(capsys, "rows520.npy", "--out", "out")
    assert "at least 639 rows where no --queries are given" in said and "got 520, of which 416 are left" in said
    for words in (), ("--queries", "query.npy"):
        said = refused(capsys, "same.npy", *words, "--out", "out")
        assert "must hold rows that differ" in said and "one direction" in said and "add rows" not in said
    assert not [each for each in recwarn if "NaN" in str(each.message)]
    np.savez("few.npz", embeddings=rows[:600], ids=[f"r{i}" for i in range(600)])
    np.savez("asked.npz", embeddings=rows[:100], ids=[f"r{i}" for i in range(100)])
    said = refused(capsys, "few.npz", "--queries", "asked.npz", "--out", "out")
    assert "got 500 of 600, for the others have the id of a query: add rows, or give queries that mean" in said
    np.save("rows.npy", rows[:639])
    assert shrink("--budget", "2")["rows"]["gallery"] == 512


def test_messages_name_what_was_typed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.load("rows.npy")
    np.savez("ids.npz", embeddings=rows, ids=np.arange(1000))
    rows[5, 2] = np.inf
    np.save("broken.npy", rows)
    out = ("--queries", "query.npy", "--out", "out")
    assert "give VECTORS, --out" in refused(capsys)
    assert "`VECTORS` must be finite; row 5" in refused(capsys, "broken.npy", *out)
    assert "`VECTORS` must exist; there is none at nope.npy" in refused(capsys, "nope.npy", *out)
    assert "`VECTORS` must hold nope here" in refused(capsys, "ids.npz", *out, "--ids", "nope")
    given = ("rows.npy", "--out", "out")
    assert "`--queries` must be finite; row 5" in refused(capsys, *given, "--queries", "broken.npy")
    assert "`--queries` must exist" in refused(capsys, *given, "--queries", "nope.npy")
    assert "`--second` must be finite; row 5" in refused(capsys, "rows.npy", *out, "--second", "broken.npy")
    assert "`--keep` must be a finite number; got 'nan'" in refused(capsys, *given, "--keep", "nan")
    assert "`--budget` must be" in refused(capsys, *given, "--budget", "few")
    assert "(a .npy file holds vectors alone)" in refused(capsys, "rows.npy", *out, "--labels")
    np.save("cube.npy", rows[:, :, None])
    assert "`VECTORS` must hold rows of floating-point numbers; cube.npy holds" in refused(capsys, "cube.npy", *out)
    np.save("narrow.npy", rows[:, :0])
    assert "of shape (1000, 0): write a matrix of one row a vector" in refused(capsys, "narrow.npy", "--out", "out")
    assert "got rows.npy: write its rows to such a file" in refused(capsys, "rows.npy", "query.npy", "--out", "out")


def test_float64_rows_beyond_float32_get_the_codes_of_their_directions(folder: Path) -> None:
    words = ("--queries", "query.npy", "--budget", "2")
    shrink(*words)
    expected = np.load("out/codes.npy"), np.load("out/queries.npz")["nearest"]
    for name, scale in (("rows.npy", 2.0**900), ("query.npy", 2.0**-900)):
        np.save(name, np.load(name).astype(np.float64) * scale)
    main(["shrink", "rows.npy", "--out", "far", *words])
    queries = np.load("far/queries.npz")
    np.testing.assert_array_equal(np.load("far/codes.npy"), expected[0])
    np.testing.assert_array_equal(queries["nearest"], expected[1])
    assert np.isfinite(queries["queries"]).all() and queries["queries"].any(1).all()


def test_the_answer_is_told_in_plain_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.load("rows.npy")
    np.save("rows.npy", rows[np.arange(1000) % 2])
    shrink("--queries", "query.npy", "--budget", "2", "--confidence", "0.9999999")
    said = " ".join(capsys.readouterr().out.split())
    assert ": 1 byte instead of 64, 64 times smaller" in said and "With confidence 0.9999999:" in said
    assert "Note: the reference, whole vectors, repeats rows (2 of 1000 differ)." in said
    np.save("rows.npy", rows[:, :4])
    np.save("query.npy", np.load("query.npy")[:, :4])
    main(["shrink", "rows.npy", "--queries", "query.npy", "--keep", "0.3", "--budget", "4", "--out", "narrow"])
    assert "4 bytes instead of 16, 4.0 times smaller" in " ".join(capsys.readouterr().out.split())
