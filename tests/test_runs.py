# SPDX-License-Identifier: Apache-2.0
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_monocon.runs import RecordLogger, RunFolder


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


def test_a_record_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").mkdir()
    with pytest.raises(RuntimeError, match=r"cannot write 'record\.jsonl' to "):
        RecordLogger(tmp_path / "record.jsonl").log_event("start")
