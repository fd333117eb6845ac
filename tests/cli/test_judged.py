# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
import yaml
from helpers.short_run import SHORT

from lightning_monocon import MonoCon
from lightning_monocon.cli.trainer import run
from lightning_monocon.encoders import SmallCNN


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_untrained_weights_are_refused(
    finished: Path, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run([command, "--config", str(finished / "config.yaml"), *SHORT])
    assert stopped.value.code == 2
    example = f"--ckpt_path {finished}/checkpoints/last.ckpt"
    assert f"`monocon {command}` needs a trained model: give its checkpoint, {example}, or " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_untrained_weights_for_those_who_mean_it(capsys: pytest.CaptureFixture[str]) -> None:
    cli = run(["test", "--config", "digits", "--untrained", *SHORT])
    assert "test/knn_accuracy" in capsys.readouterr().out
    untrained = MonoCon(SmallCNN(1, (16, 32, 64)))
    assert cli.model.state_dict().keys() == untrained.state_dict().keys()
    with pytest.raises(SystemExit):
        run(["test", "--config", "digits", "--untrained", "--ckpt_path", "x.ckpt", *SHORT])
    assert "`--untrained` and `--ckpt_path` exclude each other" in capsys.readouterr().err


def test_the_checkpoint_that_is_judged_is_named_and_taken(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = finished / "checkpoints" / "best.ckpt"
    cli = run(["validate", "--config", "digits", "--ckpt_path", str(checkpoint), *SHORT])
    assert f"The weights of '{checkpoint}' are taken." in caplog.text
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, stored[name]) for name, value in cli.model.state_dict().items())


def test_a_checkpoint_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["test", "--config", "digits", "--ckpt_path", str(tmp_path / "nope.ckpt"), *SHORT])
    assert stopped.value.code == 2
    assert f"`--ckpt_path` must be an existing checkpoint, got '{tmp_path / 'nope.ckpt'}'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["5e5", "12e45", "007", "null", "~", "#1", "1_0", "2026-11-28", "yes", "1:30"])
def test_texts_that_look_like_something_else_are_read_back(name: str, tmp_path: Path) -> None:
    texts = {"run_dir": name, "wandb_project": name, "wandb_group": name, "out": name}
    words = [f"--{key}={value}" for key, value in texts.items()] + [f"--wandb_tags+={name}"]
    words += [f"--trainer.default_root_dir={name}"] if name not in ("null", "~", "#1") else []
    first, again = tmp_path / "first.yaml", tmp_path / "again.yaml"
    logger = {
        "class_path": "lightning.pytorch.loggers.WandbLogger",
        "init_args": {"id": name, "save_dir": str(tmp_path)},
    }
    (tmp_path / "logger.yaml").write_text(json.dumps({"trainer": {"logger": logger}}))
    files = ["--config", "digits", "--config", str(tmp_path / "logger.yaml")]
    first.write_text(printed_config(["fit", *files, *words]))
    again.write_text(printed_config(["fit", "--config", str(first)]))
    config = yaml.safe_load(again.read_text())
    assert {key: config[key] for key in texts} == texts
    assert config["wandb_tags"] == [name]
    assert config["trainer"]["default_root_dir"] in (name, None)
    if name not in ("null", "~", "#1"):  # for Lightning's own options these are the ways to say nothing
        assert config["trainer"]["logger"]["init_args"]["id"] == name
    assert config["model"]["lr_head"] == yaml.safe_load(first.read_text())["model"]["lr_head"]


def printed_config(words: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit) as stopped:
        run([*words, "--print_config"])
    assert stopped.value.code == 0
    return printed.getvalue()
