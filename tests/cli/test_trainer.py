# SPDX-License-Identifier: Apache-2.0
import json
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from helpers.gadget import Gadget
from helpers.short_run import GEOMETRY, SHORT, rows
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.cli import main
from lightning_monocon.cli.trainer import run
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.export import DoubtfulExportWarning, export_model
from lightning_monocon.inference.embed import embed
from lightning_monocon.inference.shards import Shards
from lightning_monocon.losses import CompatibilityLoss

METRICS = {*GEOMETRY, "knn_accuracy", "recall@1", "recall@5"}


def test_a_run_leaves_its_folder(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names >= {"config.yaml", "record.jsonl", "csv", "scorecard.json", "spectrum.png", "correlation.png"}
    assert names >= {"training.png", "dynamics.png"}
    origin = json.loads((finished / "scorecard.json").read_text())["origin"]
    assert origin["encoder"] == "SmallCNN(in_channels=1, widths=[16, 32, 64])"
    assert origin["data"].startswith("DigitsData(batch_size=")
    whole = {"last.ckpt", "best.ckpt"}
    assert {path.name for path in (finished / "checkpoints").iterdir()} == whole | {f"{name}.sha256" for name in whole}
    assert not (finished / "owner.json").exists()  # given back
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 3
    assert config["model"]["encoder"]["class_path"].endswith("SmallCNN")


def test_the_record_has_every_epoch_and_metric_under_its_stable_name(finished: Path) -> None:
    measured = [row for row in rows(finished) if "metrics" in row]
    assert {row["epoch"] for row in measured if "train/loss" in row["metrics"]} == {0, 1, 2}
    validated = {row["epoch"]: row["metrics"] for row in measured if "val/knn_accuracy" in row["metrics"]}
    assert set(validated) == {1, 2}  # the warm-up is not validated
    for values in validated.values():
        assert set(values) == {f"val/{name}" for name in METRICS} | {f"val/encoder/{name}" for name in METRICS}
    events = [row["event"] for row in rows(finished) if "event" in row]
    assert events == ["start", "hyperparameters", "scorecard", "end"]


def test_the_last_checkpoint_restores_the_run(finished: Path) -> None:
    content = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 12
    assert content["callbacks"]["ExactResume"]["position"] == [3, 0]
    assert content["monocon"]["phase"] == "joint"
    assert "hyper_parameters" not in content


def test_a_new_run_does_not_mix_with_an_old_one(finished: Path) -> None:
    before = (finished / "record.jsonl").read_bytes()
    with pytest.raises(RuntimeError, match=r"`--run-dir` must be a new folder; .* already holds a run"):
        run(["fit", "--config", "digits", "--run_dir", str(finished), *SHORT])
    assert (finished / "record.jsonl").read_bytes() == before


@pytest.mark.parametrize("command", ["validate", "test"])
def test_validate_and_test_print_the_metrics(finished: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(finished / "checkpoints" / "last.ckpt")
    run([command, "--config", "digits", "--ckpt_path", checkpoint, *SHORT])
    stage = "val" if command == "validate" else "test"
    assert f"{stage}/knn_accuracy" in capsys.readouterr().out


def test_a_checkpoint_of_another_head_is_refused(finished: Path, tmp_path: Path) -> None:
    checkpoint = str(finished / "checkpoints" / "last.ckpt")
    with pytest.raises(ValueError, match=r"`ckpt_path` must be a checkpoint of this head, .*'mlp'"):
        run(["fit", "--config", "digits_mlp", "--ckpt_path", checkpoint, "--run_dir", str(tmp_path / "r"), *SHORT])


def test_a_finished_run_says_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    validated = "--trainer.check_val_every_n_epoch=1"
    run(["fit", "--config", "digits", "--run-dir", str(folder), *SHORT, validated])
    accuracy = [
        row["metrics"]["val/knn_accuracy"] for row in rows(folder) if "val/knn_accuracy" in row.get("metrics", {})
    ]
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"Last validation: val/knn_accuracy {accuracy[-1]:.4g}. The run is in {folder}: scorecard.json, record.jsonl, "
        "checkpoints."
    )


def test_a_run_in_low_precision_is_scored_as_the_trainer_embeds_it(tmp_path: Path) -> None:
    ended = run(["fit", "--config", "digits", "--run-dir", str(tmp_path), *SHORT, "--trainer.precision=bf16-true"])
    assert (tmp_path / "scorecard.json").is_file()
    query = ended.datamodule.test_dataloader()[1]
    expected = torch.cat([batch["embeddings"] for batch in ended.trainer.predict(ended.model, query)])
    assert next(ended.model.encoder.parameters()).dtype == torch.bfloat16
    assert torch.equal(embed(ended.model, query)["embeddings"], expected)


@pytest.mark.parametrize(("strategy", "way"), [("ddp_spawn", "spawn"), ("ddp_fork", "fork")])
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_a_strategy_that_copies_the_process_is_refused(
    strategy: str, way: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = (
        ["--run-dir", str(tmp_path / "run")] if command == "fit" else ["--untrained", "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as stopped:
        run([command, "--config", "digits", *where, *SHORT, f"--trainer.strategy={strategy}", "--trainer.devices=2"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        "monocon: error: `--trainer.strategy` must start a command for each device; got one that copies this process "
        f"({way}). Use ddp."
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["nope", "recipe.yaml.bak"])
def test_an_unknown_recipe_lists_those_that_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", name])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"got '{name}'" in error
    assert "digits, digits_encoder, digits_mlp" in error


def test_a_misspelt_recipe_is_told_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", "digitz"])
    said = capsys.readouterr().err
    assert said.startswith("monocon: error: `--config` must be one of cached, ")
    assert "got 'digitz'; did you mean 'digits'?" in said


@pytest.mark.parametrize("said", ["--run_dir=~/runs/a", "--config=~/recipe.yaml"])
def test_a_run_in_the_home_folder_lies_in_one_folder(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    (home / "recipe.yaml").write_text("run_dir: ~/runs/a")
    started = run(["fit", "--config=digits", said, *SHORT, "--report=false"])
    assert started.run_dir == home / "runs" / "a"
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
    assert {"config.yaml", "record.jsonl", "checkpoints", "csv"} <= {p.name for p in started.run_dir.iterdir()}

    judged = run(
        ["predict", "--config=~/runs/a/config.yaml", "--ckpt_path=~/runs/a/checkpoints/last.ckpt", "--out=~/e"]
    )
    assert judged.subcommand == "predict"
    assert len(Shards(home / "e").read("query").embeddings) == 540
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_a_remote_recipe_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config=https://host/recipe.yaml"])
    assert "must be a recipe's name or a local file, got the URL" in capsys.readouterr().err


def test_a_checkpoint_with_code_is_refused_whatever_the_options_say(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"state_dict": Gadget(mark), "monocon": {}}, tmp_path / "evil.ckpt")
    words = ["fit", "--config", "digits", "--run_dir", str(tmp_path / "run"), "--weights_only", "false", *SHORT]
    with pytest.raises(ValueError, match=r"damaged or holds code: Trying to load unsupported GLOBAL posix\.mkdir"):
        run([*words, "--ckpt_path", str(tmp_path / "evil.ckpt")])
    assert not mark.exists()


def test_hyperparameters_of_a_checkpoint_are_not_imported(tmp_path: Path) -> None:
    """Stock LightningCLI merges them into its configuration and imports the class paths they name."""
    module = tmp_path / "planted.py"
    module.write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()")
    planted = {"encoder": {"class_path": "planted.Encoder"}, "_class_path": "planted.Model"}
    torch.save({"state_dict": {}, "hyper_parameters": planted}, tmp_path / "poisoned.ckpt")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(KeyError):  # it is no checkpoint of a trainer
            run(["test", "--config", "digits", "--ckpt_path", str(tmp_path / "poisoned.ckpt"), *SHORT])
    assert not (tmp_path / "mark").exists()


def test_a_remote_checkpoint_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["test", "--config", "digits", "--ckpt_path", "https://host/x.ckpt"])
    assert "`--ckpt_path` must be a local file, got the URL 'https://host/x.ckpt'" in capsys.readouterr().err


def test_a_recipe_names_the_export_whose_gallery_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    old = MonoCon(SmallCNN(1, (4, 8)), "linear", out_features=5)
    images = DataLoader(TensorDataset(torch.rand(40, 1, 8, 8), torch.arange(40) % 4), batch_size=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulExportWarning)  # it has learnt nothing
        folder = export_model(old, images, images, tmp_path / "old", dim=4, forms=[], tolerance=0.1).folder
    recipe, asked = tmp_path / "recipe.yaml", []
    change = {"model": {"compatible_with": str(folder), "compatible_weights": [4.0, 2.0]}}
    recipe.write_text(yaml.safe_dump(change))
    monkeypatch.setattr(
        CompatibilityLoss, "forward", lambda self, new, old, _: asked.append((self.match, old.shape[1])) or new.sum()
    )
    once = ["--trainer.fast_dev_run=true", "--run_dir", str(tmp_path / "run"), *SHORT[2:]]
    run(["fit", "--config", "digits", "--config", str(recipe), *once])
    assert asked == [(4.0, 4)]
    with pytest.raises(ValueError, match="`compatible_with` must be a whole export; it is not: "):
        run(["fit", "--config", "digits", "--model.compatible_with", str(tmp_path / "none"), *once])
