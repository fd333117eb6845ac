# SPDX-License-Identifier: Apache-2.0
"""What `monocon compare` does with the folders of its runs: nothing of anybody's is ever deleted."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from lightning_monocon.cli import arm_run, main, run_embeddings
from lightning_monocon.cli.compare import plan
from lightning_monocon.runs.files import digests
from lightning_monocon.scorecard import EmbeddingSet

SHORT = ["--trainer.max_epochs=3", "--model.warmup_epochs=1", "--trainer.check_val_every_n_epoch=1"]


def compare(out: Path, *options: str) -> None:
    main(["compare", "--config", "digits", "--out", str(out), "--seeds", "0", *options, *SHORT])


def test_an_unfinished_run_is_resumed_and_nothing_in_its_folder_is_deleted(tmp_path: Path) -> None:
    """Stopped when its training was done and its embeddings were not written: not a step is made twice."""
    (whole,), (run,) = (plan("digits", ["encoder"], [0], SHORT, tmp_path / name) for name in ("whole", "stopped"))
    whole.train()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_embeddings, "embedded", interrupt)
        run.train()
    assert not run.finished
    (run.folder / "notes.txt").write_text("precious")
    compare(run.out, "--arms", "encoder")
    assert run.finished
    assert (run.folder / "notes.txt").read_text() == "precious"
    assert epochs_trained(run.folder) == [0, 1]
    again, truth = (EmbeddingSet.load(each.folder / "embeddings.safetensors") for each in (run, whole))
    assert torch.equal(again.gallery, truth.gallery) and torch.equal(again.query, truth.query)
    (run.folder / "spec.json").write_text("")  # whoever did that: started.json says whose folder it is
    with pytest.warns(UserWarning, match=r"spec\.json' is damaged; the run is resumed and writes it again"):
        assert not run.finished
    run.train()
    assert run.finished and epochs_trained(run.folder) == [0, 1]
    for name in ("started.json", "spec.json"):  # by the durable writer
        assert digests(run.folder / name) == {hashlib.sha256((run.folder / name).read_bytes()).hexdigest()}


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def epochs_trained(folder: Path) -> list[int]:
    rows = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    return [row["epoch"] for row in rows if "train/loss" in row.get("metrics", {})]


@pytest.mark.parametrize("name", ["record.jsonl", "notes.txt", ".hidden"])
def test_a_folder_that_compare_did_not_make_is_kept_and_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "runs" / "linear-4-seed0"
    mine.mkdir(parents=True)
    (mine / name).write_text("precious")
    with pytest.raises(SystemExit) as stopped:
        compare(tmp_path, "--arms", "encoder", "linear-4")
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"'{mine}' holds '{name}' and no 'started.json', so `monocon compare` did not make it" in error
    assert {path.name for path in mine.iterdir()} == {name}
    assert (mine / name).read_text() == "precious"
    assert not (tmp_path / "runs" / "encoder-seed0").exists()  # refused before anything was trained


@pytest.mark.parametrize("name", ["spec.json", "started.json"])
@pytest.mark.parametrize("content", ["", '{"arm": "enc', "[1]", "\xff"])
def test_a_damaged_file_of_settings_is_named(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs" / "encoder-seed0" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(SystemExit) as stopped:
        compare(tmp_path, "--arms", "encoder")
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"'{file}' must hold the settings of a run as JSON, and is damaged ({len(content)} bytes; " in error
    assert len(error.splitlines()) == 1
    assert file.read_bytes() == content.encode("latin-1")


def test_what_a_kill_leaves_before_the_first_file_is_no_obstacle(tmp_path: Path) -> None:
    (run,) = plan("digits", ["encoder"], [0], SHORT, tmp_path)
    run.folder.mkdir(parents=True)
    (run.folder / ".started.json.17.tmp").write_text("{")
    (run.folder / "started.json.sha256").write_text("0" * 64 + "  started.json\n")
    assert not run.finished


def test_a_run_that_failed_before_its_first_step_may_be_made_with_other_settings(tmp_path: Path) -> None:
    (failing,) = plan("digits", ["encoder"], [0], [*SHORT, "--data.batch_size=5000"], tmp_path)
    with pytest.raises(ValueError, match="`batch_size` must not exceed"):
        failing.train()
    (run,) = plan("digits", ["encoder"], [0], SHORT, tmp_path)
    assert not run.finished
    run.train()
    assert run.finished
    with pytest.raises(ValueError, match="`--out` must hold runs of the same recipe, options and version"):
        _ = failing.finished


def test_epochs_are_counted_by_the_rows_of_the_record(tmp_path: Path) -> None:
    """Not by a word in the text: a row may mention the loss and record none, and a resumed run has an epoch twice."""
    lines = [
        {"event": "hyperparameters", "values": {"monitor": "train/loss"}},
        *({"epoch": epoch, "metrics": {"train/loss": 0.5}} for epoch in (0, 1, 1)),
        {"epoch": 1, "metrics": {"val/train/loss": 1.0}},
    ]
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 2, "metr')
    assert arm_run.epochs_done(tmp_path) == 2
    assert arm_run.epochs_done(tmp_path / "nowhere") == 0
