# SPDX-License-Identifier: Apache-2.0
"""A fast recipe trains the same model as its slow twin."""

import json
from pathlib import Path

import pytest
import yaml
from helpers.image_folders import NAMES
from helpers.recipe_smoke import bright_strips

from lightning_monocon import recipes
from lightning_monocon.cli.trainer import run

FAST = [name for name in recipes.names() if name.endswith("_fast")]
METRICS = ("knn_accuracy", "recall@1", "effective_dimension", "rmse", "total_variance", "mean_cosine")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    bright_strips(folder / "train", per_class=40)
    bright_strips(folder / "test", per_class=4)
    return folder


def metrics(name: str, images: Path, folder: Path, *further: str) -> dict[str, float]:
    """The metrics of the last epoch of a small run: a narrow encoder, three epochs."""
    words = [f"--data.root={images}", "--data.batch_size=16", "--data.num_workers=0", "--data.val_size=0.2"]
    words += ["--model.encoder.init_args.weights=null", "--model.encoder.init_args.depths=[1,1]"]
    words += ["--model.encoder.init_args.widths=[8,16]", "--model.warmup_epochs=1", "--model.lr_encoder=2e-3"]
    words += ["--trainer.max_epochs=4", "--trainer.check_val_every_n_epoch=4", "--trainer.accelerator=cpu"]
    words += ["--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false"]
    words += ["--trainer.enable_model_summary=false", "--report=false", "--run_dir", str(folder)]
    run(["fit", "--config", name, *words, *further])
    rows = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    logged = next(row["values"] for row in rows if row.get("event") == "hyperparameters")
    assert len(logged["data"]["split_hash"]) == 16
    last = [row["metrics"] for row in rows if "val/knn_accuracy" in row.get("metrics", {})][-1]
    return {metric: last[f"val/encoder/{metric}"] for metric in METRICS}


@pytest.mark.parametrize("name", FAST)
def test_the_settings_are_those_of_the_slow_twin(name: str) -> None:
    fast, slow = (yaml.safe_load(recipes.path(each).read_text()) for each in (name, name.removesuffix("_fast")))
    assert fast["model"] == slow["model"]
    different = {key for part in ("data", "trainer") for key in _leaves(fast[part]) ^ _leaves(slow[part])}
    assert {key for key, _ in different} == {
        "num_workers",
        "augment_on",
        "precision",
        "benchmark",
        "check_val_every_n_epoch",
        "callbacks",
    }


def _leaves(section: dict[str, object]) -> set[tuple[str, str]]:
    flat = {key: value for key, value in section.items() if key != "init_args"}
    return {(key, str(value)) for key, value in {**flat, **section.get("init_args", {})}.items()}  # type: ignore[dict-item]  # a mapping


@pytest.mark.parametrize("name", FAST)
def test_the_metrics_are_those_of_the_slow_twin(name: str, images: Path, tmp_path: Path) -> None:
    slow = metrics(name.removesuffix("_fast"), images, tmp_path / "slow")
    assert slow["knn_accuracy"] > 1.5 / len(NAMES)  # there is something to agree on
    eager = "--trainer.callbacks.init_args.backend=eager"  # its compiler takes minutes on two cores
    same_sums = ["--trainer.precision=32-true", "--trainer.callbacks.init_args.channels_last=false"]
    same = metrics(name, images, tmp_path / "same", eager, *same_sums)
    assert same == pytest.approx(slow, rel=1e-5, abs=1e-6)
    fast = metrics(name, images, tmp_path / "fast", eager)
    assert fast["knn_accuracy"] == pytest.approx(slow["knn_accuracy"], abs=0.1)
    assert fast["effective_dimension"] == pytest.approx(slow["effective_dimension"], abs=1)
    for metric in ("rmse", "total_variance", "mean_cosine"):
        assert fast[metric] == pytest.approx(slow[metric], rel=0.1, abs=0.01)
