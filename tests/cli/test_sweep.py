# SPDX-License-Identifier: Apache-2.0
"""`monocon landscape sweep`: a grid in, one run a point and a seed, one report out; killed and resumed."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.watched_runs import watched
from lightning.pytorch import Trainer

from lightning_monocon.cli import compare, main, sweep, trainer
from lightning_monocon.cli.arm_run import PooledRun
from lightning_monocon.cli.landscape import write_report
from lightning_monocon.cli.sweep import by_report, plan, read_grid
from lightning_monocon.cli.sweep_run import SweepRun
from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.watching.files import write_landscape

TINY = [
    *("--trainer.max_steps", "60", "--data.modulus", "11"),
    *("--model.encoder.modulus", "11", "--model.encoder.embedding", "8", "--model.out_features", "11"),
]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Train in this process, as the pool is tested with `monocon compare`; the names of the runs that were trained."""
    trained: list[str] = []

    def train(runs: Sequence[PooledRun], jobs: int) -> None:
        for each in runs:
            if not each.finished:
                each.train()
                trained.append(each.folder.name)

    monkeypatch.setattr(sweep, "train", train)
    return trained


def _sweep(out: Path, *more: str) -> None:
    main(["landscape", "sweep", "--config", "grokking", "--seeds", "0", "--out", str(out), *more, *TINY])


@pytest.mark.filterwarnings("ignore:.probe. is lowered")
def test_a_sweep_is_resumed_after_a_kill_and_reports_on_all_runs(tmp_path: Path, in_process: list[str]) -> None:
    grid = ("--vary", "data.train_share=0.4,0.6", "model.encoder.width=8")
    _sweep(tmp_path, *grid)
    names = ["train_share=0.4,width=8,seed=0", "train_share=0.6,width=8,seed=0"]
    assert in_process == names
    first, second = (tmp_path / "runs" / name for name in names)
    assert all((folder / "landscape" / "tracker.pt").is_file() for folder in (first, second))
    report = (tmp_path / "report.md").read_text()
    assert "# Semantic landscape of 2 runs" in report and all(name in report for name in names)

    spec = json.loads((second / "sweep.json").read_text())
    (second / "sweep.json").write_text(json.dumps({**spec, "finished": False}))
    (second / "landscape" / "tracker.pt").unlink()
    written = (first / "landscape" / "tracker.pt").stat().st_mtime_ns
    _sweep(tmp_path, *grid)
    assert in_process == [*names, names[1]], "only the run that had not finished is trained again"
    assert (second / "landscape" / "tracker.pt").is_file()
    assert (first / "landscape" / "tracker.pt").stat().st_mtime_ns == written


def test_a_grid_is_read_from_words_and_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("data.train_share: [0.3, 0.4]\nmodel.warmup_epochs: [0]\ntrainer.barebones: [false]\n")
    assert read_grid(["model.encoder.width=32,64"], str(file)) == {
        "data.train_share": ["0.3", "0.4"],
        "model.warmup_epochs": ["0"],
        "trainer.barebones": ["false"],
        "model.encoder.width": ["32", "64"],
    }


@pytest.mark.parametrize(
    ("vary", "yaml", "sentence"),
    [
        (["width"], None, r"`--vary` must be OPTION=VALUE,VALUE\.\.\., .* got 'width'"),
        (["a=1", "a=2"], None, "must name an option once, got a twice"),
        (["a=1,1"], None, "at least one value and none twice, got '1,1'"),
        (["a="], None, "at least one value and none twice, got ''"),
        ([], "a: []", "`--grid` must give a at least one value and none twice, got ''"),
        ([], "a: 3", "must give each option a list of values, .* a has 3"),
    ],
)
def test_a_wrong_grid_is_named(tmp_path: Path, vary: list[str], yaml: str | None, sentence: str) -> None:
    if yaml:
        (tmp_path / "grid.yaml").write_text(yaml)
    with pytest.raises(ValueError, match=sentence):
        read_grid(vary, str(tmp_path / "grid.yaml") if yaml else None)
    with pytest.raises(ValueError, match="`--grid` must be an existing YAML file"):
        read_grid([], str(tmp_path / "none.yaml"))


def test_mistakes_stop_before_any_training(
    tmp_path: Path, in_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, sentence in (
        (("--vary", "data.trainshare=0.4"), "trainshare"),
        (("--seeds", "1", "1"), "`--seeds` must not repeat a value, got 1 1."),
        (("--vary", "data.train_share=0.4,1.5"), "data.train_share=1.5 is refused: `train_share` must leave pairs"),
        (("--jobs", "-1"), "`--jobs` must be a number of runs"),
        (
            ("--trainer.max_steps", "3"),
            "must leave at least 10 evaluations of the landscape, which a report needs; 3 steps have 4 by the",
        ),
        (("--config", "digits"), "such as grokking; digits.yaml has none"),
    ):
        options = ["--config", "grokking", *words, "--out", str(tmp_path / "out")]
        with pytest.raises(SystemExit, match="2"):
            main(["landscape", "sweep", *options])
        assert sentence in capsys.readouterr().err
    assert not in_process and not (tmp_path / "out").exists()


def _run(out: Path, value: str = "0.4") -> SweepRun:
    recipe = out / "recipe.yaml"
    recipe.write_text("x: 1\n")
    return SweepRun((("data.train_share", value),), 3, recipe, ("--trainer.max_steps", "5"), out, 4)


def test_options_of_one_last_word_are_told_apart_in_the_names_of_runs(tmp_path: Path) -> None:
    point = (("model.encoder.vocabulary", "64"), ("model.vocabulary", "32"), ("data.share", "0.4"))
    named = replace(_run(tmp_path), point=point).name
    assert named == "encoder.vocabulary=64,model.vocabulary=32,share=0.4,seed=3"


def test_a_folder_of_another_sweep_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path)
    assert not run.finished and run.done == 0
    run.folder.mkdir(parents=True)
    assert not run.finished, "killed before its first file was written"
    (run.folder / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="`--out` must hold runs of the same recipe, options and version"):
        _ = run.finished
    assert run.done == 0, "the bar is drawn while a worker makes the folder, and must not judge it"
    assert (run.folder / "mine.txt").read_text() == "mine"


def test_a_run_goes_on_from_its_checkpoint_and_begins_again_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[list[str]] = []
    monkeypatch.setattr(trainer, "run", lambda args: words.append(list(args)))
    run = _run(tmp_path)
    run.train()
    assert run.finished and run.done == 4
    assert words[-1][:3] == ["fit", "--config", str(tmp_path / "recipe.yaml")]
    assert "--resume" not in words[-1]

    (run.folder / "record.jsonl").write_text("half a run\n")
    run.train()
    assert not (run.folder / "record.jsonl").exists() and "--resume" not in words[-1]

    (run.folder / "checkpoints").mkdir()
    (run.folder / "checkpoints" / "step=5.ckpt").write_bytes(b"x")
    run.train()
    assert (run.folder / "checkpoints").exists() and words[-1][-2:] == ["--resume", "auto"]


def test_names_of_folders_are_plain_and_apart(tmp_path: Path) -> None:
    names = {_run(tmp_path, value).name for value in ("a/b", "a b", "0.4")}
    assert len(names) == 3 and not any(set(name) & set("/ ") for name in names)


def test_the_plan_is_the_product_of_the_grid_and_the_seeds(tmp_path: Path) -> None:
    runs = plan("grokking", {"data.train_share": ["0.3", "0.4"]}, [0, 1], TINY, tmp_path)
    assert [(run.point[0][1], run.seed) for run in runs] == [("0.3", 0), ("0.3", 1), ("0.4", 0), ("0.4", 1)]
    assert {(run.length, run.unit) for run in runs} == {(60, "step")}


def test_points_are_tried_without_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    ear = logging.Handler()
    ear.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(ear)
    try:
        plan("grokking", {"data.train_share": ["0.3", "0.4"]}, [0], TINY, tmp_path)
        assert not said
        assert [logger.level for logger in loggers] == levels
        Trainer(accelerator="cpu", logger=False, enable_model_summary=False)
        assert said  # what a trainer says elsewhere
    finally:
        for logger in loggers:
            logger.removeHandler(ear)


@pytest.mark.parametrize(
    ("grid", "words", "lengths", "unit"),
    [
        ({}, ["--trainer.max_steps=-1"], [400], "epoch"),
        ({"trainer.max_steps": ["7", "9"]}, [], [7, 9], "step"),
        ({"trainer.max_steps": ["-1", "9"]}, [], [400, 400], "epoch"),
        ({"trainer.max_epochs": ["3", "5"], "trainer.max_steps": ["-1"]}, [], [3, 5], "epoch"),
    ],
)
def test_the_bar_counts_what_limits_the_runs(
    tmp_path: Path, grid: dict[str, list[str]], words: list[str], lengths: list[int], unit: str
) -> None:
    runs = plan("grokking", grid, [0], words, tmp_path)
    assert [run.length for run in runs] == lengths
    assert {run.unit for run in runs} == {unit}


def test_steps_are_counted_while_a_run_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = replace(_run(tmp_path), length=60, unit="step")
    assert run.done == 0
    run.folder.mkdir(parents=True)
    rows = [{"event": "start"}, *({"epoch": 0, "step": step, "metrics": {"train/loss": 1.0}} for step in (25, 50))]
    (run.folder / "record.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"epoch": 0, "st')
    assert run.done == 50
    assert replace(run, length=40).done == 40
    with pytest.raises(RuntimeError, match="failed"):
        compare.train([replace(run, recipe=tmp_path / "none.yaml", out=tmp_path / "other")], 1)
    assert "Training 1 runs of at most 60 steps in all." in capsys.readouterr().err


def test_each_task_of_a_grid_has_its_own_report(tmp_path: Path) -> None:
    runs = [_run(tmp_path, value) for value in ("23", "59", "61")]
    for run, classes in zip(runs, (23, 59, 59), strict=True):
        write_landscape(watched(), run.folder / "landscape", {"task": f"ModularAddition of {classes} classes"})
    first, second, third = (run.folder for run in runs)
    assert by_report(runs, tmp_path) == {
        tmp_path / "ModularAddition-of-23-classes": [first],
        tmp_path / "ModularAddition-of-59-classes": [second, third],
    }
    assert by_report(runs[1:], tmp_path) == {tmp_path: [second, third]}


def test_each_vocabulary_of_a_grid_has_its_own_report(tmp_path: Path) -> None:
    runs = [_run(tmp_path, value) for value in ("64", "256")]
    for run, chance in zip(runs, (1 / 64, 1 / 256), strict=True):
        tracker = watched()
        tracker.chance = chance
        write_landscape(tracker, run.folder / "landscape", {"task": "Repeated"})
    assert by_report(runs, tmp_path) == {
        tmp_path / "Repeated-of-chance-0.015625": [runs[0].folder],
        tmp_path / "Repeated-of-chance-0.00390625": [runs[1].folder],
    }


def test_runs_of_other_strata_have_a_report_of_their_own(tmp_path: Path) -> None:
    """As with and without wrong labels, which are a stratum where there are any."""
    runs = [_run(tmp_path, value) for value in ("0.2", "0", "0.1")]
    names = (("train/right", "train/wrong", "val"), ("train/right", "val"), ("train/right", "train/wrong", "val"))
    for run, strata in zip(runs, names, strict=True):
        tracker = LandscapeTracker(np.repeat(strata, 4))
        for step in range(1, 20):
            tracker.update(step, np.full(4 * len(strata), 0.5))
        write_landscape(tracker, run.folder / "landscape", {"task": "FashionMNIST", "train_size": 400})
    noisy, clean, less = (run.folder for run in runs)
    found = by_report(runs, tmp_path)
    assert found == {
        tmp_path / "FashionMNIST-with-train-right-train-wrong-val": [noisy, less],
        tmp_path / "FashionMNIST-with-train-right-val": [clean],
    }
    for place, folders in found.items():
        write_report(folders, place)
        assert (place / "report.html").is_file()


@pytest.mark.parametrize(
    ("text", "got"), [("[1, 2]", "of type list"), ("", "it is empty"), ("a: [1", "not valid YAML")]
)
def test_a_grid_that_is_no_mapping_is_told_what_it_must_hold(tmp_path: Path, text: str, got: str) -> None:
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"`--grid` '.*grid.yaml' .*{got}") as told:
        read_grid([], str(tmp_path / "grid.yaml"))
    assert "recipe" not in str(told.value)


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["landscape", "sweep", "--config", "grokking", "--out", str(tmp_path / "out")])
    assert "`--out` must be a folder, got the file" in capsys.readouterr().err
