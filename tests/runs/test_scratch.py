# SPDX-License-Identifier: Apache-2.0
"""A folder appears whole, wherever it may appear, and what a kill left is cleared away, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lightning_monocon.runs.scratch import filled, resolved_target

HOLDER = """
import sys
from pathlib import Path
from lightning_monocon.runs.scratch import filled, resolved_target
with filled("out", resolved_target("out", sys.argv[1]), last="config.json") as folder:
    (folder / "big.bin").write_bytes(b"x" * 100)
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is filling ``out``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def fill(out: Path, *names: str) -> None:
    with filled("out", resolved_target("out", out), last="config.json") as folder:
        for name in names or ("config.json", "weights"):
            (folder / name).write_text(name)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_with_the_folders_above_it(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "b" / "out")
    assert names(tmp_path / "a" / "b") == ["out"]
    assert names(tmp_path / "a" / "b" / "out") == ["config.json", "weights"]


def test_an_empty_folder_stays_the_folder_that_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    before = out.stat().st_ino  # a mount point and a working directory cannot be replaced either
    fill(out)
    assert (out.stat().st_ino, names(out), names(tmp_path)) == (before, ["config.json", "weights"], ["out"])


@pytest.mark.parametrize("there", [True, False], ids=["to an empty folder", "to nothing"])
def test_a_link_is_followed(there: bool, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    if there:
        real.mkdir()
    fill(link)
    assert link.is_symlink()
    assert names(real) == ["config.json", "weights"]
    assert names(tmp_path) == ["link", "real"]


def test_the_working_directory_may_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fill(Path("."))
    assert Path("config.json").is_file()
    assert names(tmp_path) == ["here"]


def test_what_holds_something_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out in ("out", "file"):
        with pytest.raises(
            FileExistsError, match=rf"`out` must be a folder that does not exist or is empty; .*{out} ho"
        ):
            fill(tmp_path / out)
    assert (tmp_path / "out" / "mine").read_text() == (tmp_path / "file").read_text() == "mine"


def test_where_nothing_can_be_written_one_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"`out` must be a folder that can be written; .*file.out is not \("):
        fill(tmp_path / "file" / "out")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("there", [True, False], ids=["into a folder", "as a folder"])
def test_a_failure_leaves_what_was_there(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    if there:
        out.mkdir(parents=True)
    with pytest.raises(ZeroDivisionError):
        with filled("out", resolved_target("out", out), last="config.json") as folder:
            (folder / "weights").write_text("half")
            raise ZeroDivisionError
    assert names(tmp_path) == (["a"] if there else [])
    assert not there or names(out) == []


@pytest.mark.parametrize("there", [True, False], ids=["into a folder", "as a folder"])
def test_what_a_kill_left_is_cleared_at_the_next_start(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    with holder(out):
        left = [path for path in tmp_path.rglob("*.bin")]
        assert len(left) == 1  # the process was killed in the middle of it
    assert left[0].exists()
    fill(out)
    assert names(tmp_path) == ["out"]
    assert names(out) == ["config.json", "weights"]


def test_what_another_process_is_filling_is_let_be(tmp_path: Path) -> None:
    with holder(tmp_path / "out"):
        resolved_target("out", tmp_path / "out")
        assert len(list(tmp_path.rglob("*.bin"))) == 1


def test_what_only_looks_like_ours_is_kept(tmp_path: Path) -> None:
    foreign = tmp_path / ".out.monocon-scratch-abc"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    marked = tmp_path / ".out.monocon-scratch-def"
    marked.mkdir()
    (marked / "mark").write_text("lightning-monocon/scratch/1\n")
    (marked / "thesis.tex").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mark").write_text("lightning-monocon/scratch/1\n")
    os.symlink(elsewhere, tmp_path / ".out.monocon-scratch-ghi")
    before = sorted(tmp_path.rglob("*"))
    resolved_target("out", tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
