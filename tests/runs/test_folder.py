# SPDX-License-Identifier: Apache-2.0
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_monocon.loggers.record import RecordLogger
from lightning_monocon.runs.folder import RunFolder


def test_a_folder_is_held_by_one_and_names_who(tmp_path: Path) -> None:
    holder = RunFolder(tmp_path)
    holder.claim(resume=False)
    with pytest.raises(RuntimeError, match=rf"written by pid {os.getpid()} on {socket.gethostname()}\. Choose another"):
        RunFolder(tmp_path).claim(resume=True)
    holder.claim(resume=False)  # held already, by this very object
    holder.release()
    holder.release()
    RunFolder(tmp_path).claim(resume=True)


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    code = (
        "import os, sys; from filelock import FileLock; lock = FileLock(sys.argv[1] + '/.lock'); lock.acquire();"
        "open(sys.argv[1] + '/owner.json', 'w').write(sys.argv[2]); os.kill(os.getpid(), 9)"
    )
    owner = json.dumps({"pid": 2**22 + 1, "host": socket.gethostname()})  # above the largest pid
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), owner], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    folder = RunFolder(tmp_path)
    folder.claim(resume=False)
    assert json.loads((tmp_path / "owner.json").read_text())["pid"] == os.getpid()
    folder.release()


def test_a_garbled_owner_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "owner.json").write_text("{")
    RunFolder(tmp_path).claim(resume=False)


def test_half_a_row_is_cut_off_and_half_a_file_removed(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text('{"event": "start"}\n{"epoch": 3, "met')
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".last.ckpt.1.tmp").touch()
    folder = RunFolder(tmp_path)
    folder.claim(resume=True)
    RecordLogger(record).log_event("resume")
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    assert [row["event"] for row in rows] == ["start", "resume"]
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_last_row_that_is_whole_gets_its_newline(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").write_text('{"event": "start"}\n{"event": "end"}')
    RunFolder(tmp_path).claim(resume=True)
    assert (tmp_path / "record.jsonl").read_text() == '{"event": "start"}\n{"event": "end"}\n'


@pytest.mark.parametrize("name", ["last.ckpt", "mine.ckpt"])
def test_a_new_run_is_not_begun_over_checkpoints(tmp_path: Path, name: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).write_text("precious")
    folder = RunFolder(tmp_path)
    with pytest.raises(RuntimeError, match=r"`--run-dir` must be a new folder; .* already holds a run"):
        folder.claim(resume=False)
    folder.claim(resume=True)
    assert (tmp_path / "checkpoints" / name).read_text() == "precious"


@pytest.mark.parametrize("resume", [False, True])
def test_an_owner_of_another_program_is_kept(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "owner.json").write_text('{"name": "Ada"}')
    with pytest.raises(RuntimeError, match=r"owner\.json' was written by another program"):
        RunFolder(tmp_path).claim(resume)
    assert (tmp_path / "owner.json").read_text() == '{"name": "Ada"}'


def test_hidden_files_of_others_are_kept(tmp_path: Path) -> None:
    mine = {".notes.tmp", ".probe-results", ".a.b.tmp", ".12.tmp"}
    left = {".last.ckpt.12.tmp", ".probe-12"}
    for name in mine | left:
        (tmp_path / name).touch()
    RunFolder(tmp_path).claim(resume=False)
    assert {path.name for path in tmp_path.iterdir()} == mine | {".lock", "owner.json"}


def test_a_record_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").mkdir()
    with pytest.raises(RuntimeError, match=r"cannot write 'record\.jsonl' to "):
        RecordLogger(tmp_path / "record.jsonl").log_event("start")
