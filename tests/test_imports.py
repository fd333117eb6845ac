# SPDX-License-Identifier: Apache-2.0
"""What an import or a quick command loads, and what works without Lightning; each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.patience import PATIENCE

import lightning_monocon
from lightning_monocon import cli, recipes

HEAVY = {"lightning", "pytorch_lightning", "triton", "wandb", "transformers", "matplotlib", "sklearn"}
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def _fresh(code: str, cwd: Path) -> set[str]:
    """Return the loaded modules of a new process that runs `code`; seconds would depend on the machine."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_is_light(tmp_path: Path) -> None:
    modules = _fresh("import lightning_monocon; dir(lightning_monocon)", tmp_path)
    assert not (HEAVY | {"torch"}) & modules


def test_import_loads_one_file(tmp_path: Path) -> None:
    before = _fresh("import importlib", tmp_path)  # and what a virtual environment loads at its start
    assert _fresh("import lightning_monocon", tmp_path) - before == {"lightning_monocon"}


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["recipes"], ["recipes", "digits"]], ids=" ".join)
def test_quick_commands_are_light(words: list[str], tmp_path: Path) -> None:
    modules = _fresh(f"from lightning_monocon.cli import main; main({words})", tmp_path)
    assert not (HEAVY | {"torch", "numpy"}) & modules


def test_arithmetic_loads_torch_alone(tmp_path: Path) -> None:
    parts = "import lightning_monocon as m; m.functional, m.MonotonicMLP, m.SupConLoss"
    modules = _fresh(parts, tmp_path)
    assert not HEAVY & modules


def test_scorecards_load_no_graphs_and_no_distributions(tmp_path: Path) -> None:
    modules = _fresh("import lightning_monocon.scorecard.files, lightning_monocon.shrink.run", tmp_path)
    assert "lightning_monocon.landscape.phases" in modules  # which they draw
    assert not (HEAVY | {"networkx", "scipy.stats"}) & modules


def test_parts_without_lightning_work_when_it_is_absent(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules.update({'lightning': None, 'pytorch_lightning': None})\n"
    parts = "import lightning_monocon as m; m.functional, m.metrics, m.MonotonicMLP, m.SupConLoss, m.landscape\n"
    parts += "import lightning_monocon.shrink.run"
    # torchmetrics itself imports matplotlib, transformers and torchvision where they are installed
    modules = _fresh(blocked + parts, tmp_path) - _fresh(blocked + "import torchmetrics", tmp_path)
    assert not {"triton", "wandb", "sklearn", "lightning_monocon.module"} & modules


def test_every_public_name_resolves() -> None:
    assert set(lightning_monocon.__all__) <= set(dir(lightning_monocon))
    for name in lightning_monocon.__all__:
        assert getattr(lightning_monocon, name) is not None


def test_unknown_name_lists_the_public_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'MonoConn'; its public names are .*MonoCon, .*"):
        lightning_monocon.MonoConn  # noqa: B018


def test_unknown_recipe_lists_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"`recipe` must be one of .*digits.*, or a path to a YAML file; got 'digit'"):
        recipes.path("digit")


def test_recipes_are_listed_with_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipes.names()
    assert all(line.endswith(recipes.summary(line.split()[0])) for line in lines)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["fti"],
            "`COMMAND` must be one of fit, validate, test, predict, compare, score, shrink, load, export, upgrade, "
            "landscape, tune, recipes; got 'fti'",
        ),
        (["recipes", "nope"], "`recipe` must be one of "),
        (["recipes", "digits", "more"], "`monocon recipes` takes at most one name; got 'digits more'"),
    ],
    ids=["command", "recipe", "two recipes"],
)
def test_wrong_words_stop_with_status_2(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"monocon: error: {sentence}")


def test_module_runs_as_a_command(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lightning_monocon", "--version"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, f"monocon {lightning_monocon.__version__}\n")
