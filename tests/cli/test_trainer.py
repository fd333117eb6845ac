# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_monocon import MonoCon
from lightning_monocon.cli import main
from lightning_monocon.cli.trainer import run
from lightning_monocon.cli.words import resolve_recipes
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.runs import RunFolder
from lightning_monocon.scorecard import EmbeddingSet
from lightning_monocon.shards import Shards

SHORT = [
    "--trainer.max_epochs=3",
    "--model.warmup_epochs=1",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
METRICS = {
    "effective_dimension",
    "feature_correlation",
    "constant_features",
    "total_variance",
    "mean_cosine",
    "rmse",
    "fvu",
    "knn_accuracy",
    "recall@1",
    "recall@5",
}


class Gadget:
    """Pickles to a call that would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short finished run."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    run(["fit", "--config", "digits", "--run_dir", str(folder), *SHORT])
    return folder


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]


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
    with pytest.raises(RuntimeError, match=r"`run_dir` must be a new folder; .* already holds a run"):
        run(["fit", "--config", "digits", "--run_dir", str(finished), *SHORT])
    assert (finished / "record.jsonl").read_bytes() == before


@pytest.mark.parametrize("command", ["validate", "test"])
def test_validate_and_test_print_the_metrics(finished: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(finished / "checkpoints" / "last.ckpt")
    run([command, "--config", "digits", "--ckpt_path", checkpoint, *SHORT])
    stage = "val" if command == "validate" else "test"
    assert f"{stage}/knn_accuracy" in capsys.readouterr().out


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


def test_predict_writes_gallery_and_query(finished: Path, tmp_path: Path) -> None:
    checkpoint, out = str(finished / "checkpoints" / "last.ckpt"), tmp_path / "embeddings.safetensors"
    run(["predict", "--config", "digits", "--ckpt_path", checkpoint, "--out", str(out), *SHORT])
    data = EmbeddingSet.load(out)
    assert data.gallery.shape == (1131, 64)
    assert data.query.shape == (540, 64)


def test_predict_writes_a_folder_of_shards(finished: Path, tmp_path: Path) -> None:
    checkpoint, out = str(finished / "checkpoints" / "last.ckpt"), tmp_path / "corpus"
    words = ["--out", str(out), "--shard_rows", "500", "--shard_kind", "parquet"]
    run(["predict", "--config", "digits", "--ckpt_path", checkpoint, *words, *SHORT])
    assert Shards(out).read("gallery").embeddings.shape == (1131, 64)
    assert len(list(out.glob("gallery-*.parquet"))) == 3


def test_resume_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(["fit", "--config", "digits", "--run_dir", str(folder), "--report", "false", *SHORT, "--trainer.max_epochs=2"])
    last = str(folder / "checkpoints" / "last.ckpt")
    again = ["fit", "--config", "digits", "--run_dir", str(folder), "--report", "false", *SHORT, "--ckpt_path", last]
    with pytest.raises(ValueError, match=r"these differ: trainer\.max_epochs: 2 in the checkpoint, 3 now"):
        run(again)
    with pytest.warns(UserWarning, match="goes on with other settings than its checkpoint's: trainer.max_epochs: 2"):
        run([*again, "--allow_drift", "true"])
    epochs = [row["epoch"] for row in rows(folder) if "train/loss" in row.get("metrics", {})]
    assert epochs == [0, 1, 2]
    events = [row["event"] for row in rows(folder) if row.get("event") in ("start", "resume", "end", "failure")]
    assert events == ["start", "end", "resume", "failure", "resume", "end"]
    assert (folder / "config-1.yaml").is_file()


def test_a_checkpoint_of_another_head_is_refused(finished: Path, tmp_path: Path) -> None:
    checkpoint = str(finished / "checkpoints" / "last.ckpt")
    with pytest.raises(ValueError, match=r"`ckpt_path` must be a checkpoint of this head, .*'mlp'"):
        run(["fit", "--config", "digits_mlp", "--ckpt_path", checkpoint, "--run_dir", str(tmp_path / "r"), *SHORT])


@pytest.mark.parametrize("name", ["nope", "recipe.yaml.bak"])
def test_an_unknown_recipe_lists_those_that_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", name])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"got '{name}'" in error
    assert "digits, digits_encoder, digits_mlp" in error


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


def one_sentence(words: list[str], capsys: pytest.CaptureFixture[str], status: int = 2) -> str:
    """What the command says on standard error, beside Lightning's information, when it refuses the words."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == status
    error = capsys.readouterr().err
    assert "Traceback" not in error and "usage:" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("monocon: error: ")]
    return line.removeprefix("monocon: error: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "`monocon fit` needs a recipe: give a packaged one, such as `monocon fit --config digits` (`monocon"),
        (["--config", "digits", "--model.temprature", "0.2"], "did you mean `--model.temperature`?"),
        (["--config", "digits", "--model.temp=0.2"], "did you mean `--model.temperature`?"),
        (["--config", "digits", "--max_epochs", "2"], "did you mean `--trainer.max_epochs`?"),
        (["--confg", "digits"], "`--confg` is not an option of `monocon fit`; did you mean `--config`?"),
        (["--config", "digits", "stray"], "`monocon fit` takes options only, such as --config NAME; got 'stray'"),
        (["--config", "digits", "--data.batchsize=2"], "DigitsData; did you mean `batch_size`?"),
        (
            ["--config", "digits", "--data", "DigitData"],
            "`data`: there is no class 'DigitData'; did you mean 'DigitsData'?",
        ),
        (
            ["--config", "digits", "--model.head", "mpl"],
            "`model.head` must be one of 'monotonic', 'mlp', 'linear', 'none'",
        ),
        (
            ["--config", "digits", "--trainer.max_epochs", "many"],
            "`trainer.max_epochs` must be int or null; got 'many'",
        ),
        (["--config", "digits", "--run_dir"], "argument --run_dir: expected one argument"),
        (
            ["--config", "digits", "--trainer.max_epochs=2", "--run_dir=r"],
            "`max_epochs` must exceed the 10 warm-up epochs",
        ),
        (["--config", "digits", "--data.batch_size=1"], "`batch_size` must be at least 2 to hold a pair, got 1."),
        (["--config", "digits", "--trainer.devices=0"], "`Trainer(devices='0')` value is not a valid input"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in one_sentence(["fit", *words], capsys)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("model: {temprature: 0.2}", "`model.temprature` is not a key of a recipe; did you mean `model.temperature`?"),
        ("trainr: {max_epochs: 3}", "`trainr.max_epochs` is not a key of a recipe; did you mean `trainer.max_epochs`?"),
        ("model: {lr_head: 1}\ntrainer: {}\nmodel: {nested: true}", "has the key 'model' on lines 1 and 3"),
        ("model: {lr_head: 1, lr_head: 2}", "has the key 'model.lr_head' twice on line 1"),
        ("model: {lr_head: 0.1", "is not valid YAML: expected ',' or '}'"),
        ("model: {head: null}", "`head` must be one of monotonic, mlp, linear, none or a module, got None."),
        ("- model", "must hold a recipe, a mapping with keys such as model and data; it holds a value of type list"),
        ("", "must hold a recipe, a mapping with keys such as model and data; it is empty"),
        (
            "trainer: {callbacks: [{class_path: EarlyStoping}]}",
            "no class 'EarlyStoping'; did you mean 'EarlyStopping'?",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_one_sentence(
    recipe: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(recipe)
    said = one_sentence(["fit", "--config", "digits", "--config", "r.yaml", "--trainer.fast_dev_run=true"], capsys)
    assert sentence in said
    assert "key" not in sentence or "twice" not in sentence or "'r.yaml'" in said


def test_what_a_run_refuses_is_one_sentence(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with a run in it, one that is in use, and settings that drifted."""
    words = ["fit", "--config", "digits", "--run_dir", str(finished), *SHORT]
    before = (finished / "record.jsonl").read_bytes()
    assert "already holds a run. Choose another, or resume that run" in one_sentence(words, capsys, status=1)
    holder = RunFolder(finished)
    holder.claim(resume=True)
    assert "`run_dir` must not be in use;" in one_sentence([*words, "--resume", "auto"], capsys, status=1)
    holder.release()
    assert (finished / "record.jsonl").read_bytes() == before
    drifted = [*words, "--resume", "auto", "--model.lr_head=0.5"]
    assert "these differ: model.schedule.lr_head: 0.003 in the checkpoint, 0.5 now" in one_sentence(drifted, capsys)


def test_an_error_of_the_users_own_code_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Encoder(torch.nn.Module):\n"
        "    out_features = 4\n"
        "    def forward(self, x):\n"
        "        raise ValueError('mine')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["fit", "--config", "digits", "--model.encoder=mine.Encoder", "--trainer.fast_dev_run=true"]
    with pytest.raises(ValueError, match="mine"):
        main(words)
    with pytest.raises(ValueError, match="`head` must be one of"), monkeypatch.context() as patch:
        patch.setenv("MONOCON_TRACEBACK", "1")
        (tmp_path / "r.yaml").write_text("model: {head: null}")
        main([*words, "--config", str(tmp_path / "r.yaml")])


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_the_help_of_a_command_has_its_own_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: monocon {command} --config RECIPE [OPTIONS]\n")
    assert len(text.splitlines()) < 150 and max(map(len, text.splitlines())) <= 120
    own = {"fit": "--save_every_n_steps", "predict": "--shard_rows"}.get(command, "--untrained")
    others = {"--save_every_n_steps", "--shard_rows", "--untrained", "--wandb"} - {own, "--untrained"}
    assert f"\n  {own} " in text
    assert not [name for name in others - ({"--wandb"} if command == "fit" else set()) if f"\n  {name}" in text]
    assert "\nthe model:\n" in text and "\n  --model.temperature " in text


def test_help_all_lists_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--help-all"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "--trainer.gradient_clip_val" in text and "--shard_rows" in text and "--model.temperature" in text


def test_paths_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    words = ["fit", "--config", str(file), "-c", "digits", "--config=digits_mlp"]
    resolved = resolve_recipes(words)
    assert resolved[2] == str(file)
    assert resolved[4].endswith("recipes/digits.yaml")
    assert resolved[5].startswith("--config=/")
