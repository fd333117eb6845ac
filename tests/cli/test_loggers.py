# SPDX-License-Identifier: Apache-2.0
import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers.short_run import SHORT
from oracles import wandb_log

from lightning_monocon.cli.trainer import run
from lightning_monocon.loggers.figures import log_summary
from lightning_monocon.loggers.wandb import MirrorLogger, finishing_runs

SCALARS = ("train/loss", "val/effective_dimension", "val/encoder/knn_accuracy")
FIGURES = ("frontier", "spectrum", "correlation", "dynamics")


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]


def recorded(folder: Path, name: str) -> list[float]:
    return [row["metrics"][name] for row in rows(folder) if name in row.get("metrics", {})]


def fit(folder: Path, *words: str) -> None:
    run(["fit", "--config", "digits", "--run_dir", str(folder), *SHORT, *words])


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch in the joint phase and its continuation, mirrored offline."""
    folder = tmp_path_factory.mktemp("wandb") / "run"
    options = ["--wandb", "offline", "--wandb_tags", "[mine]", "--wandb_model", "true"]
    fit(folder, "--trainer.max_epochs=2", "--report=false", *options)
    with pytest.warns(UserWarning, match="resumes with other settings"):  # an epoch more
        fit(folder, *options, "--resume", "auto", "--allow_drift", "true")
    return folder


@pytest.fixture(scope="module")
def logs(mirrored: Path) -> list[tuple[Path, wandb_log.WandbLog]]:
    files = sorted(mirrored.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    return [(file.parent, wandb_log.read_finished(file)) for file in files]


def test_wandb_has_the_scalars_of_the_record(mirrored: Path, logs: list[tuple[Path, wandb_log.WandbLog]]) -> None:
    for name in SCALARS:
        assert [value for _, log in logs for value in log.column(name)] == pytest.approx(recorded(mirrored, name))
    assert [log.exit_code for _, log in logs] == [0, 0]


def test_wandb_draws_over_epochs_and_steps(logs: list[tuple[Path, wandb_log.WandbLog]]) -> None:
    defined = logs[0][1].metrics
    assert defined["*"] == "trainer/global_step"
    assert defined["val/*"] == defined["test/*"] == "epoch"
    steps = logs[0][1].column("trainer/global_step")
    assert steps == sorted(steps)


def test_wandb_has_configuration_group_and_tags(logs: list[tuple[Path, wandb_log.WandbLog]]) -> None:
    for _, log in logs:
        assert (log.run.project, log.run.run_group, log.run.display_name) == ("monocon", "digits", "run")
        assert set(log.run.tags) == {"mine", "monotonic", "SmallCNN", "DigitsData"}
        assert log.config["recipe"]["data"]["init_args"]["batch_size"] == 256
        assert log.config["schedule"]["warmup_epochs"] == 1


def test_a_resumed_run_is_the_same_run(mirrored: Path, logs: list[tuple[Path, wandb_log.WandbLog]]) -> None:
    assert len(logs) == 2
    assert {log.run.run_id for _, log in logs} == {(mirrored / "wandb_id").read_text().strip()}


def test_wandb_has_figures_table_and_summary(mirrored: Path, logs: list[tuple[Path, wandb_log.WandbLog]]) -> None:
    folder, log = logs[-1]
    for name in FIGURES:
        (image,) = log.column(f"figures/{name}.path")
        assert (folder / "files" / image).stat().st_size > 10_000
    (table,) = log.column("scorecard/arms.path")
    content = json.loads((folder / "files" / table).read_text())
    scorecard = next(row for row in rows(mirrored) if row.get("event") == "scorecard")
    assert [row[0] for row in content["data"]] == ["encoder", "head"]
    assert content["data"][1][content["columns"].index("n99")] == scorecard["scorecard/n99"]
    assert log.summary["scorecard/knn_accuracy"] == pytest.approx(scorecard["scorecard/knn_accuracy"])


def test_figures_that_are_not_numbers_stay_in_the_summary(tmp_path: Path) -> None:
    figures = {"nan": math.nan, "numpy": np.float64("nan"), "inf": math.inf, "zero": 0.0, "count": 3, "word": "compact"}
    with finishing_runs():
        logger = MirrorLogger(tmp_path, "offline")
        logger.log_metrics({"val/rmse": math.nan}, step=0)
        log_summary(logger, figures)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    found = wandb_log.read_finished(file).summary
    assert {name: found[name] for name in figures} == {**figures, "nan": "NaN", "numpy": "NaN"}
    assert math.isnan(found["val/rmse"])


def test_the_model_is_an_artifact_when_asked(logs: list[tuple[Path, wandb_log.WandbLog]]) -> None:
    models = [artifact for _, log in logs for artifact in log.artifacts if artifact.type == "model"]
    assert len(models) == 4  # best and last of either part
    assert all([entry.path for entry in model.manifest.contents] == ["model.ckpt"] for model in models)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "k" * 40}, r"at http://127\.0\.0\.1:9 \("),
        ({}, r"at https://.* \(No API key configured"),
    ],
    ids=["unreachable", "no key"],
)
def test_a_run_goes_on_without_the_service(
    environment: dict[str, str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))  # no key in a .netrc
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "3")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    wandb = pytest.importorskip("wandb")
    wandb.teardown()  # it reads the environment once in a process
    folder = tmp_path / "run"
    with pytest.warns(UserWarning, match="Weights & Biases is not reachable " + reason):
        fit(folder, "--wandb", "online", "--report=false")
    wandb.teardown()
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    log = wandb_log.read_finished(file)
    assert len(recorded(folder, "train/loss")) == 3
    assert log.column("train/loss") == pytest.approx(recorded(folder, "train/loss"))


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    fit(tmp_path / "run", "--wandb", "disabled", "--report=false")
    assert not (tmp_path / "run" / "wandb").exists()
    assert len(recorded(tmp_path / "run", "train/loss")) == 3


def test_tensorboard_and_csv_get_the_same(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    kinds = [("TensorBoardLogger", "tb"), ("CSVLogger", "csv")]
    chosen = [
        {"class_path": f"lightning.pytorch.loggers.{kind}", "init_args": {"save_dir": str(folder), "name": name}}
        for kind, name in kinds
    ]
    fit(folder, f"--trainer.logger={json.dumps(chosen)}")

    events = EventAccumulator(str(folder / "tb" / "version_0"))
    events.Reload()
    with (folder / "csv" / "version_0" / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    scorecard = next(row for row in rows(folder) if row.get("event") == "scorecard")
    expected = {name: recorded(folder, name) for name in SCALARS} | {"scorecard/n99": [scorecard["scorecard/n99"]]}
    for name, values in expected.items():
        assert [scalar.value for scalar in events.Scalars(name)] == pytest.approx(values)
        assert [float(line[name]) for line in lines if line.get(name)] == pytest.approx(values)
    assert set(events.Tags()["images"]) >= {f"figures/{name}" for name in FIGURES}
    assert {path.stem for path in (folder / "csv" / "version_0" / "figures").iterdir()} >= set(FIGURES)
