# SPDX-License-Identifier: Apache-2.0
"""The folder of `monocon shrink`: one command writes to it, and nothing in it is replaced unasked."""

from __future__ import annotations

import errno
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from lightning_monocon.cli import main
from lightning_monocon.codes.candidates import FAMILIES, candidates
from lightning_monocon.shrink import run as running
from lightning_monocon.shrink import writing

WORDS = ("rows.npy", "--queries", "query.npy", "--budget", "4", "--out", "out")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    rows = (random.normal(size=(700, 8)) * np.linspace(2, 0.2, 8)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows[:600])
    np.save(tmp_path / "query.npy", rows[600:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "candidates", partial(candidates, families=FAMILIES[:1]))
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], command: str, *words: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        main([command, *words])
    return " ".join(capsys.readouterr().err.split())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_a_folder_that_another_command_writes_to_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    with FileLock("out/.lock"):
        assert "`--out` must not be in use; another command writes to 'out'." in refused(capsys, "shrink", *WORDS)
    main(["shrink", *WORDS])


def test_the_folder_is_held_while_codes_are_judged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, seen = running._check_answers, list[str]()

    def second(*args: object) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["shrink", *WORDS])
        seen.append("refused")
        judge(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "_check_answers", second)
    main(["shrink", *WORDS])
    assert seen == ["refused"] and Path("out/shrink.json").is_file()


def test_a_finished_run_is_named_and_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shrink", *WORDS])
    before = contents(Path("out"))
    said = refused(capsys, "shrink", *WORDS)
    assert "out holds a finished one: transform-4 is in it" in said and "delete that one to ask again" in said
    np.savez("set.npz", gallery=np.eye(8), query=np.eye(8), gallery_labels=np.arange(8), query_labels=np.arange(8))
    for command, *words in (["score", "set.npz"], ["upgrade", "--old", "set.npz", "--new", "set.npz"]):
        said = refused(capsys, command, *words, "--out", "out")
        assert "`--out` must not be a folder of codes, as `monocon shrink` writes it; out holds shrink.json." in said
    assert contents(Path("out")) == before


def test_a_folder_that_is_refused_is_left_as_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "shrink", "missing.npy", "--out", "deep/out")
    assert not Path("deep").exists()
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    assert "out holds something else" in refused(capsys, "shrink", *WORDS)
    assert contents(Path("out")) == {"notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (np.arange(600) % 598, "`VECTORS` must name each row once; 2 occur more often, such as 0, 1"),
        (np.array([f"row {number % 599}" for number in range(600)]), "row once; 'row 0' occurs more often: give"),
        (np.array(["a\ud800", *map(str, range(599))]), "`VECTORS` must be text that UTF-8 can write"),
        (np.arange(600) / 2, "`VECTORS` must be one integer or text a row"),
    ],
    ids=["numbers", "text", "surrogate", "floats"],
)
@pytest.mark.parametrize("queries", [("--queries", "query.npy"), ()], ids=["queries", "held-out"])
def test_ids_that_no_store_takes_are_refused_before_a_code_is_fitted(
    ids: np.ndarray, reason: str, queries: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("named.npz", embeddings=np.load("rows.npy"), ids=ids)
    said = refused(capsys, "shrink", "named.npz", *queries, "--out", "out")
    assert reason in said and not Path("out").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, "143"), (signal.SIGINT, "130")])
def test_a_signal_says_that_the_same_command_resumes(
    number: int, status: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose, before = running.chosen, signal.getsignal(number)

    def stopped(*args: Any) -> Any:
        signal.raise_signal(number)
        return choose(*args)

    monkeypatch.setattr(running, "chosen", stopped)
    with pytest.raises(SystemExit, match=status):
        main(["shrink", *WORDS])
    said = capsys.readouterr().err
    assert "Certifying the choice and encoding 600 rows.\n" in said
    assert said.endswith("stopped; judged codes are kept in out/parts, and the same command resumes.\n")
    assert signal.getsignal(number) is before
    monkeypatch.setattr(running, "chosen", choose)
    main(["shrink", *WORDS])
    assert "Writing transform-4 and the report to out.\n" in capsys.readouterr().err


def test_a_full_disk_says_that_the_same_command_resumes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="1"):
        patch.setattr(os, "fsync", full)
        main(["shrink", *WORDS])
    said = capsys.readouterr().err
    assert "disk full while writing 'whole.safetensors' to 'out/parts'" in said and "save_top_k" not in said
    main(["shrink", *WORDS])
    Path("out").rename("before")
    write = writing.write_text
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="1"):
        patch.setattr(writing, "write_text", lambda *args: (patch.setattr(os, "fsync", full), write(*args)))
        main(["shrink", *WORDS])
    said = capsys.readouterr().err
    assert "monocon shrink: stopped; judged codes are kept in out/parts, and the same command resumes." in said
    assert "disk full while writing 'shrink.html' to 'out'" in said
    main(["shrink", *WORDS])


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_family_without_a_rival_is_said_to_win_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shrink", *WORDS])
    said = " ".join(capsys.readouterr().out.split())
    assert "transform: without a rival at 2 and 4 bytes." in said and "beyond noise at" not in said
