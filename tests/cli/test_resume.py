# SPDX-License-Identifier: Apache-2.0
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.short_run import SHORT, rows

from lightning_monocon.callbacks import RunReport
from lightning_monocon.cli.resume import resume_command
from lightning_monocon.cli.trainer import run


def test_the_command_that_resumes_a_run() -> None:
    command = resume_command(Path("runs/my run"))
    assert command == "monocon fit --config 'runs/my run/config.yaml' --run-dir 'runs/my run' --resume auto"


def test_resume_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(["fit", "--config", "digits", "--run_dir", str(folder), "--report", "false", *SHORT, "--trainer.max_epochs=2"])
    last = str(folder / "checkpoints" / "last.ckpt")
    again = ["fit", "--config", "digits", "--run_dir", str(folder), "--report", "false", *SHORT, "--ckpt_path", last]
    with pytest.raises(ValueError, match=r"these differ: trainer\.max_epochs: 2 in the checkpoint, 3 now"):
        run(again)
    with pytest.warns(UserWarning, match="resumes with other settings than its checkpoint's: trainer.max_epochs: 2"):
        run([*again, "--allow_drift", "true"])
    epochs = [row["epoch"] for row in rows(folder) if "train/loss" in row.get("metrics", {})]
    assert epochs == [0, 1, 2]
    events = [row["event"] for row in rows(folder) if row.get("event") in ("start", "resume", "end", "failure")]
    assert events == ["start", "end", "resume", "failure", "resume", "end"]
    assert (folder / "config-1.yaml").is_file()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_while_the_report_is_written_leaves_it_whole_and_is_said(
    number: signal.Signals,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = RunReport._report

    def interrupted(*args: Any) -> None:
        signal.raise_signal(number)
        write(*args)

    monkeypatch.setattr(RunReport, "_report", interrupted)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as stopped:
            run(["fit", "--config", "digits", "--run_dir", str(tmp_path / "run"), *SHORT])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stopped.value.code == status
    assert json.loads((tmp_path / "run" / "scorecard.json").read_text())["arms"]
    assert (tmp_path / "run" / "dynamics.png").is_file()
    said = capsys.readouterr().err
    assert f"{number.name} was received after the last step of training; the run is finished." in said
    assert "Resume with:" not in said


def test_the_file_of_a_resumed_run_serves_every_command(finished: Path, tmp_path: Path) -> None:
    """It says `resume: auto` or names a checkpoint; the words of the present command outdo it."""
    last = str(finished / "checkpoints" / "last.ckpt")
    config = tmp_path / "config.yaml"
    config.write_text((finished / "config.yaml").read_text().replace("resume: null", "resume: auto"))
    run(["test", "--config", str(config), "--ckpt_path", last])
    text = (finished / "config.yaml").read_text().replace("ckpt_path: null", f"ckpt_path: {last}")
    config.write_text(text)
    run(["fit", "--config", str(config), "--run_dir", str(tmp_path / "run"), "--resume", "auto", "--report=false"])
    assert [row["event"] for row in rows(tmp_path / "run") if row.get("event") == "resume"] == ["resume"]
    assert {row["epoch"] for row in rows(tmp_path / "run") if "metrics" in row} == {0, 1, 2}  # none of them skipped


def test_a_run_in_a_folder_that_looks_like_a_number_is_resumed_from_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--report=false", *SHORT]
    run(["fit", "--config", "digits", "--run_dir", "5e5", *words])
    run(["fit", "--config", "5e5/config.yaml", "--resume", "auto"])
    assert [row["event"] for row in rows(tmp_path / "5e5") if row.get("event") in ("start", "resume")] == [
        "start",
        "resume",
    ]
