# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
import yaml
from helpers.short_run import SHORT, rows

from lightning_monocon import MonoCon
from lightning_monocon.cli.trainer import MonoConCLI, run
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


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("", "`--out` must name a folder, or a file that ends in .safetensors; got ''"),
        ("folder.safetensors", "`--out` must name a folder, or a file that ends in .safetensors; got 'folder"),
        ("file", "`--out` must be a folder that can be written; file is not (File exists). Choose another."),
        ("file/inside", "`--out` must be a folder that can be written; file/inside is not (Not a directory)."),
        ("file/all.safetensors", "`--out` must be a folder that can be written; file is not (File exists)."),
        ("/proc/x", "`--out` must be a folder that can be written; /proc/x is not ("),
        ("new/" + 300 * "x", "`--out` must be a folder that can be written; new/xxx"),
    ],
)
def test_an_out_that_cannot_be_written_is_refused_before_the_work(
    out: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MonoConCLI, "instantiate_classes", None)  # it is not called
    Path("file").write_text("mine")
    Path("folder.safetensors").mkdir()
    with pytest.raises(SystemExit) as stopped:
        run(["predict", "--config", "digits", "--untrained", "--out", out, *SHORT])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith(f"monocon: error: {sentence}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.safetensors"]
    assert Path("file").read_text() == "mine"


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
