# SPDX-License-Identifier: Apache-2.0
"""The short help of the trainer's commands, which is made without the trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lightning_monocon.cli import main
from lightning_monocon.cli.options import section
from lightning_monocon.cli.parser import MonoConParser
from lightning_monocon.cli.run_help import model_options, run_options

COMMANDS = ["fit", "validate", "test", "predict"]
SUBJECTS = ["the recipe", "the run", "saving and resuming", "Weights & Biases", "what is written", "the checkpoint"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_its_own_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: monocon {command} --config RECIPE [OPTIONS]\n")
    assert len(text.splitlines()) < 150 and max(map(len, text.splitlines())) <= 120
    own = {"fit": "--save-every-n-steps", "predict": "--shard-rows"}.get(command, "--untrained")
    others = {"--save-every-n-steps", "--shard-rows", "--untrained", "--wandb"} - {own, "--untrained"}
    assert f"\n  {own} " in text
    assert not [name for name in others - ({"--wandb"} if command == "fit" else set()) if f"\n  {name}" in text]
    assert "\nthe model:\n" in text and "\n  --model.temperature " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_loads_neither_torch_nor_lightning(command: str) -> None:
    code = (
        "import sys\nfrom lightning_monocon.cli import main\n"
        f"try: main([{command!r}, '--config', 'digits', '-h'])\n"
        "except SystemExit as stopped: assert not stopped.code\n"
        "heavy = {'torch', 'lightning', 'torchmetrics', 'numpy', 'wandb', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_every_line_is_that_of_the_parser_that_takes_the_option(trainers: dict[str, MonoConParser]) -> None:
    real = {action.dest: action for action in trainers["fit"]._actions}
    for title in SUBJECTS:
        told = run_options(title)
        assert told and section(title, told) == section(title, [real[action.dest] for action in told])
    told = list(model_options())
    taken = [action for name, action in real.items() if name.startswith("model.") and not name.endswith(".help")]
    assert section("the model", told) == section("the model", taken)


def test_a_model_of_ones_own_is_not_described_as_monocon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text("model:\n  class_path: mine.Model\n")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(recipe), "--help"])
    assert stopped.value.code == 0
    assert "--model.temperature" not in capsys.readouterr().out


def test_the_help_beside_a_broken_recipe_says_what_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: [1, 2")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(recipe), "--help"])
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and not printed.out
    assert f"`--config` '{recipe}' is not valid YAML" in printed.err


def test_the_help_names_a_recipe_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "digit", "--help"])
    assert stopped.value.code == 2
    assert "got 'digit'" in capsys.readouterr().err


def test_help_needs_no_value_of_config(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--help", "--config"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("usage: monocon fit --config RECIPE")
