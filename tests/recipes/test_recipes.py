# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
from helpers.recipe_smoke import local_data, overrides

from lightning_monocon import recipes
from lightning_monocon.cli import main
from lightning_monocon.cli.trainer import run

FILES = sorted(recipes.path(name) for name in recipes.names())
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def test_there_are_recipes_and_every_file_is_one() -> None:
    assert {"digits", "digits_encoder", "digits_mlp"} <= set(recipes.names())
    assert FILES == sorted(path for path in FILES[0].parent.rglob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_is_flat_short_and_has_its_header(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 60
    assert [line.split()[1] for line in lines[:4]] == ["What", "Run", "Smoke", "Expect"]
    assert f"--config {path.stem}" in lines[1]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the smoke runs share."""
    return tmp_path_factory.mktemp("scratch")


# `cached_encoder` has nothing to train, which Lightning remarks on
@pytest.mark.filterwarnings("ignore:.*configure_optimizers` returned `None`")
@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@pytest.mark.parametrize("name", recipes.names())
def test_the_smoke_run(name: str, tmp_path: Path, root: Path, scratch: Path) -> None:
    smoke = next(line for line in recipes.path(name).read_text().splitlines() if line.startswith("# Smoke"))
    words = smoke.removeprefix("# Smoke").split()
    assert words.pop(0) == "monocon"
    main([*words, *overrides(name, local_data(root), scratch), "--run_dir", str(tmp_path / "run"), *QUIET])


@pytest.mark.parametrize("name", [name for name in recipes.names() if name.startswith("digits")])
def test_two_epochs_of_the_digits_recipes(name: str, tmp_path: Path) -> None:
    warmup = [] if name == "digits_encoder" else ["--model.warmup_epochs=1"]
    folder = tmp_path / "run"
    options = ["--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=1", "--report=false", *warmup, *QUIET]
    run(["fit", "--config", name, "--run_dir", str(folder), *options])
    rows = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    accuracy = [row["metrics"]["val/knn_accuracy"] for row in rows if "val/knn_accuracy" in row.get("metrics", {})]
    assert accuracy[-1] > 0.2  # twice chance: two epochs from a start that is nearly a collapse
