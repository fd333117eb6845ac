# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path

import pytest
from filelock import FileLock

from lightning_monocon.cli import main
from lightning_monocon.cli.arm_run import ArmRun, check_arm
from lightning_monocon.cli.compare import plan

SHORT = ["--trainer.max_epochs=3", "--model.warmup_epochs=1", "--trainer.check_val_every_n_epoch=1"]


def compare(out: Path, *options: str) -> None:
    main(["compare", "--config", "digits", "--out", str(out), "--seeds", "0", *options, *SHORT])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two arms with a short schedule."""
    out = tmp_path_factory.mktemp("compare") / "out"
    compare(out, "--arms", "encoder", "monotonic", "--jobs", "2")
    return out


def test_a_comparison_leaves_tables_and_figures(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    figures = {"frontier.png", "spectrum.png", "correlation.png", "dynamics.png"}
    assert names >= {"scorecard.json", "scorecard.md", "runs"} | figures
    card = json.loads((finished / "scorecard.json").read_text())
    assert [arm["name"] for arm in card["arms"]] == ["encoder", "monotonic"]


def test_arms_train_for_the_same_number_of_joint_epochs(finished: Path) -> None:
    def epochs(run: str) -> int:
        return (finished / "runs" / run / "record.jsonl").read_text().count('"train/loss"')

    assert epochs("monotonic-seed0") == 3  # one of them warm-up
    assert epochs("encoder-seed0") == 2


def test_the_full_schedule_compacts_and_keeps_the_accuracy(tmp_path: Path) -> None:
    out = tmp_path / "out"
    main(["compare", "--config", "digits", "--out", str(out), "--seeds", "0", "--arms", "encoder", "monotonic"])
    arms = {arm["name"]: arm["runs"][0] for arm in json.loads((out / "scorecard.json").read_text())["arms"]}
    assert arms["monotonic"]["n99"] < arms["encoder"]["n99"]
    assert arms["monotonic"]["n99"] <= 10
    assert min(arm["knn_accuracy"] for arm in arms.values()) >= 0.97


def test_finished_runs_are_used_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embeddings = finished / "runs" / "monotonic-seed0" / "embeddings.safetensors"
    before = os.stat(embeddings).st_mtime_ns
    compare(finished, "--arms", "encoder", "monotonic")
    assert os.stat(embeddings).st_mtime_ns == before
    assert "monotonic" in capsys.readouterr().out


def test_runs_of_other_settings_are_kept_and_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embeddings = finished / "runs" / "encoder-seed0" / "embeddings.safetensors"
    before = embeddings.read_bytes()
    with pytest.raises(SystemExit) as stopped:
        compare(finished, "--arms", "encoder", "--model.lr_encoder=1.0e-3")
    assert stopped.value.code == 2
    assert "`--out` must hold runs of the same recipe, options and version;" in capsys.readouterr().err
    assert embeddings.read_bytes() == before


def test_an_unfinished_run_is_made_again(tmp_path: Path) -> None:
    (run,) = plan("digits", ["encoder"], [0], SHORT, tmp_path)
    run.folder.mkdir(parents=True)
    (run.folder / "record.jsonl").write_text('{"event": "start"}\n')
    assert not run.finished
    compare(tmp_path, "--arms", "encoder")
    assert run.finished


def test_a_failed_run_names_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        compare(tmp_path / "out", "--arms", "encoder", "--data.batch_size=5000")
    assert stopped.value.code == 1
    assert "the run encoder-seed0 failed" in capsys.readouterr().err
    assert "`batch_size` must not exceed" in (tmp_path / "out" / "runs" / "encoder-seed0" / "log.txt").read_text()


def test_a_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(SystemExit) as stopped:
        compare(tmp_path, "--arms", "encoder")
    assert stopped.value.code == 2
    assert "`--out` must not be in use; another comparison writes to" in capsys.readouterr().err


@pytest.mark.parametrize("arm", ["linear", "linear-0", "linear-x", "encoder-3", "pca"])
def test_unknown_arms(arm: str) -> None:
    with pytest.raises(ValueError, match=f"`--arms` must be of encoder, mlp, monotonic, linear-K .* got '{arm}'"):
        check_arm(arm)


def test_arms_and_seeds_must_not_repeat(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`--seeds` must not repeat a value, got 1 1"):
        plan("digits", ["encoder"], [1, 1], [], tmp_path)


def test_a_recipe_without_a_length(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: {warmup_epochs: 1}\n")
    with pytest.raises(ValueError, match=r"`--config` must set `trainer.max_epochs` to an integer, .* has None"):
        plan(str(recipe), ["encoder"], [0], [], tmp_path)


def test_the_words_of_each_arm(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("trainer: {max_epochs: 30}\nmodel: {warmup_epochs: 10}\n")
    words = {arm: ArmRun(arm, 2, recipe, (), tmp_path).arguments() for arm in ("encoder", "mlp", "linear-4")}
    assert words["encoder"][words["encoder"].index("--trainer.max_epochs") + 1] == "20"
    assert words["mlp"][words["mlp"].index("--model.head") + 1] == "mlp"
    assert words["linear-4"][words["linear-4"].index("--model.out_features") + 1] == "4"
    assert ArmRun("encoder", 2, recipe, ("--trainer.max_epochs=12",), tmp_path).epochs == 2
