# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from helpers.patience import PATIENCE
from oracles import wandb_log

from lightning_monocon import recipes
from lightning_monocon.cli import main
from lightning_monocon.cli.compare import Beyond, plan
from lightning_monocon.cli.mirror import mirror
from lightning_monocon.scorecard.codes import CodeFrontier, code_frontiers
from lightning_monocon.scorecard.runs import score_runs

ARMS = ("encoder", "monotonic", "mlp-squared", "matryoshka")
SHORT = ["--trainer.max_epochs=3", "--model.warmup_epochs=1", "--trainer.check_val_every_n_epoch=1"]


def compare(out: Path, *options: str) -> None:
    main(["compare", "--config", "digits", "--out", str(out), "--seeds", "0", *options, *SHORT])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of four arms with a short schedule."""
    out = tmp_path_factory.mktemp("compare") / "out"
    compare(out, "--arms", *ARMS, "--jobs", "2")
    return out


@pytest.fixture(scope="module")
def card(finished: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((finished / "scorecard.json").read_text())
    return content


def test_a_comparison_leaves_tables_and_figures(finished: Path, card: dict[str, Any]) -> None:
    names = {path.name for path in finished.iterdir()}
    figures = {"frontier.png", "storage.png", "recall.png", "spectrum.png", "correlation.png", "dynamics.png"}
    assert names >= {"scorecard.json", "scorecard.md", "scorecard.html", "runs"} | figures
    assert [arm["name"] for arm in card["arms"]] == list(ARMS)


def test_a_real_short_run_is_called_less_accurate(card: dict[str, Any]) -> None:
    """Two joint epochs: n99 is far below the encoder's, and so is the accuracy."""
    verdicts = {arm["name"]: arm["verdict"] for arm in card["arms"]}
    assert verdicts["monotonic"]["word"] == "compact, but less accurate"
    assert verdicts["monotonic"]["facts"]["dimension_ratio"] < 0.5


def test_both_checkpoint_rules_are_reported(finished: Path, card: dict[str, Any]) -> None:
    other = card["alternative"]
    assert (card["stage"], other["stage"]) == ("last", "best")
    assert [arm["name"] for arm in other["arms"]] == list(ARMS) and other["nulls"] == []
    assert {run["stage"] for arm in other["arms"] for run in arm["runs"]} == {"best"}
    assert "Under the other checkpoint rule: best by validation" in (finished / "scorecard.md").read_text()


def test_nested_arms_are_read_by_prefixes(card: dict[str, Any]) -> None:
    assert {arm["name"]: arm["runs"][0]["reading"] for arm in card["arms"]} == {
        "encoder": "pca",
        "monotonic": "pca",
        "mlp-squared": "pca",
        "matryoshka": "prefix",
    }


def test_the_constraint_is_held_against_the_start(finished: Path, card: dict[str, Any]) -> None:
    (effect,) = card["effects"]
    assert (effect["cause"], effect["arm"], effect["twin"]) == ("constraint", "monotonic", "mlp-squared")
    assert "One seed cannot tell them apart." in (finished / "scorecard.md").read_text()


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
    compare(finished, "--arms", *ARMS)
    assert os.stat(embeddings).st_mtime_ns == before
    *report, last = capsys.readouterr().out.rstrip().split("\n\n")
    assert last.startswith("Bottom line: ") and "bytes" in last and last in report


def test_all_families_of_codes_compete_if_asked(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fast(*arguments: Any) -> tuple[CodeFrontier, ...]:
        asked.append(arguments[3])
        return code_frontiers(*arguments[:3])  # all would take minutes

    monkeypatch.setattr("lightning_monocon.scorecard.scores.code_frontiers", fast)
    compare(finished, "--arms", "encoder", "--codes", "all")
    assert asked == ["all"]


def test_all_families_are_refused_without_faiss_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(SystemExit, match="2"):
        compare(tmp_path / "out", "--codes", "all")
    assert "`--codes` all needs the package faiss" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_scorecard_is_mirrored_to_wandb(finished: Path, tmp_path: Path) -> None:
    """From finished runs, so that nothing is trained for it."""
    card, drawn = score_runs(finished, ARMS)
    mirror(tmp_path / "out", card, drawn, mode="offline", project="mine", group="digits")
    (file,) = (tmp_path / "out").glob("wandb/offline-run-*/*.wandb")
    log = wandb_log.read_finished(file)
    assert (log.run.project, log.run.run_group) == ("mine", "digits")
    pictures = {name.removesuffix(".png") for name in drawn}
    shown = {name.partition(".")[0] for row in log.history for name in row}
    assert {f"figures/{name}" for name in pictures} <= shown
    assert log.summary["scorecard/monotonic/n99"] == card.arm("monotonic").spread("n99")[0]
    assert log.summary["scorecard/monotonic/verdict"] == "compact, but less accurate"
    assert log.summary["scorecard/best_at_8"].startswith("encoder")
    with pytest.raises(ValueError, match="`--wandb` must be one of 'off', 'disabled', 'offline', 'online'; got 'yes'"):
        mirror(tmp_path, card, drawn, mode="yes", project=None, group=None)


def test_runs_of_other_settings_are_kept_and_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embeddings = finished / "runs" / "encoder-seed0" / "embeddings.safetensors"
    before = embeddings.read_bytes()
    with pytest.raises(SystemExit) as stopped:
        compare(finished, "--arms", "encoder", "--model.lr_encoder=1.0e-3")
    assert stopped.value.code == 2
    assert "`--out` must hold runs of the same recipe, options and version;" in capsys.readouterr().err
    assert embeddings.read_bytes() == before


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
    assert "`--out` must not be in use; another command writes to" in capsys.readouterr().err


def test_a_killed_comparison_goes_on(tmp_path: Path) -> None:
    """Killed during the second run: the first is kept, its worker dies too, and the same command finishes."""
    words = [
        "--config",
        "digits",
        "--out",
        str(tmp_path),
        "--seeds",
        "0",
        "--arms",
        "encoder",
        "linear-4",
        "--jobs",
        "1",
    ]
    code = f"from lightning_monocon.cli import main\nif __name__ == '__main__':\n main({['compare', *words, *SHORT]})"
    done, going = tmp_path / "runs" / "encoder-seed0", tmp_path / "runs" / "linear-4-seed0"
    command = subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__':\n {code}"], stderr=subprocess.DEVNULL
    )
    try:
        _until(lambda: (going / "started.json").is_file() or command.poll() is not None)
        assert command.poll() is None and (done / "spec.json").is_file()
        workers = _children(command.pid)
        assert workers
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    before = os.stat(done / "embeddings.safetensors").st_mtime_ns
    assert not (going / "spec.json").exists()
    (going / "notes.txt").write_text("precious")
    main(["compare", *words, *SHORT])
    assert os.stat(done / "embeddings.safetensors").st_mtime_ns == before
    assert (going / "spec.json").is_file() and (tmp_path / "scorecard.json").is_file()
    assert (going / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_comparison_and_begins_no_further_run(tmp_path: Path, number: signal.Signals) -> None:
    words = ["compare", "--config", "digits", "--out", str(tmp_path), "--seeds", "0", "--jobs", "1"]
    words += ["--arms", "encoder", "linear-4", "mlp"]
    command = subprocess.Popen(
        [sys.executable, "-m", "lightning_monocon", *words, "--trainer.max_epochs=1000"],
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    record = tmp_path / "runs" / "encoder-seed0" / "record.jsonl"
    try:
        _until(lambda: (record.exists() and "train/loss" in record.read_text()) or command.poll() is not None)
        if number == signal.SIGINT:
            os.killpg(command.pid, number)  # a terminal sends it to all
        else:
            command.terminate()
        said = command.communicate(timeout=PATIENCE)[1]
    finally:
        command.kill()
    assert command.returncode == 128 + number
    assert said.splitlines()[-1] == "monocon compare: stopped; nothing is lost, and the same command resumes."
    assert "Traceback" not in said and "leaked" not in said
    assert said.count("\n") < 6, "no bar is drawn into a file"
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"encoder-seed0"}


def _until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    return [*found, *(each for child in found for each in _children(child))]


def test_head_options_are_those_that_fit_makes_of_recipe_and_command_line(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(Path(recipes.path("digits")).read_text() + "\n")
    change = yaml.safe_load(recipe.read_text())
    change["model"]["head_options"] = {"num_layers": 2}
    recipe.write_text(yaml.safe_dump(change))

    def options(arm: str, *words: str) -> str:
        (run,) = plan(str(recipe), [arm], [0], words, tmp_path)
        arguments = run.arguments()
        return arguments[arguments.index("--model.head_options", len(words) + 5) + 1]

    assert options("monotonic") == '{"num_layers": 2}'
    assert options("monotonic-identity", "--model.head_options.activation=relu") == (
        '{"num_layers": 2, "activation": "relu", "init": "identity"}'
    )
    assert options("mlp", "--model.head_options", "{parametrization: abs}") == "null"


def test_wandb_is_asked_for_as_in_fit(tmp_path: Path) -> None:
    words = ["--wandb=offline", "--wandb-group", "mine"]
    (run,) = plan("digits", ["encoder"], [0], words, tmp_path)
    assert (run.config["wandb"], run.config["wandb_group"]) == ("offline", "mine")
    assert run.config["wandb_project"] == "monocon"


def test_arms_and_seeds_must_not_repeat(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`--seeds` must not repeat a value, got 1 1"):
        plan("digits", ["encoder"], [1, 1], [], tmp_path)


def test_a_recipe_without_a_length(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: {encoder: SmallCNN}\ndata: DigitsData\n")
    with pytest.raises(ValueError, match=r"`--config` must set `trainer.max_epochs` to an integer, .* has None"):
        plan(str(recipe), ["encoder"], [0], [], tmp_path)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("induction", r"must be a recipe of `MonoCon`, .*; induction\.yaml trains .*TokenModel\. Choose another"),
        ("grokking", r"grokking\.yaml trains class scores with torch\.nn\.CrossEntropyLoss, which an arm without"),
    ],
)
def test_a_recipe_in_which_no_arm_can_be_swapped_is_refused(tmp_path: Path, recipe: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plan(recipe, ["encoder", "mlp"], [0], [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_words_of_each_arm(tmp_path: Path) -> None:
    runs = plan("digits", ["encoder", "mlp", "linear-4"], [2], [], tmp_path)
    words = {run.arm: run.arguments() for run in runs}
    assert words["encoder"][words["encoder"].index("--trainer.max_epochs") + 1] == "200"
    assert words["mlp"][words["mlp"].index("--model.head") + 1] == "mlp"
    assert words["linear-4"][words["linear-4"].index("--model.out_features") + 1] == "4"
    assert [run.epochs for run in runs] == [200, 210, 210]
    assert plan("digits", ["encoder"], [2], ["--trainer.max_epochs=12"], tmp_path)[0].epochs == 2


def test_data_that_nothing_is_known_of_are_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_monocon.data import SentencePairs

    monkeypatch.delattr(SentencePairs, "judged")
    with pytest.raises(ValueError, match=r"`--config` must name data with classes or known answers, .*SNLIData has"):
        plan("snli", ["encoder"], [0], [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--arm", "encoder"], "`--arm` is not an option of `monocon compare`; did you mean `--arms`?"),
        (["--seed=0"], "`--seed` is not an option of `monocon compare`; did you mean `--seeds`?"),
        (
            ["--model.temprature", "1"],
            "`--model.temprature` is not an option of `monocon fit`; did you mean `--model.temp",
        ),
        (["--jobs", "two"], "`--jobs` must be int; got 'two'"),
        (["--seeds", "0", "one"], "`--seeds` must be int; got 'one'"),
        (["--jobs"], "argument --jobs: expected one argument; `monocon compare --help` lists the options"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_trained(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "--config", "digits", "--out", str(tmp_path / "out"), *words, *SHORT])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_help_says_where_an_option_that_it_names_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["compare", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "go to `monocon fit`, whose help lists them. Of those, --wandb mirrors the scorecard" in said


def test_corrupted_queries_and_proofs_are_added_to_a_finished_comparison(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--robustness", "--certify", "0.001", "0.02"]
    compare(finished, "--arms", "encoder", "monotonic", "--jobs", "1", *words)
    content = json.loads((finished / "robustness.json").read_text())
    assert list(content["arms"]) == ["encoder", "monotonic"]
    (run,) = content["arms"]["encoder"]
    card = json.loads((finished / "scorecard.json").read_text())
    encoder = next(arm["runs"][0] for arm in card["arms"] if arm["name"] == "encoder")
    assert run["clean"] == pytest.approx(encoder["knn_accuracy"])
    assert {name: len(line) for name, line in run["corrupted"].items()} == dict.fromkeys(
        ("noise", "blur", "contrast", "jpeg"), 5
    )
    assert run["corrupted"]["contrast"][4] < run["clean"]
    assert re.search(r"(?m)^encoder +\d", capsys.readouterr().out) and (finished / "robustness.md").is_file()

    (proofs,) = json.loads((finished / "certificates.json").read_text())["monotonic"]
    assert proofs["eps"] == [0.001, 0.02] and proofs["right"] >= proofs["proved"][0] >= proofs["proved"][1]
    assert all(a <= b for a, b in zip(proofs["proved"], proofs["attacked"], strict=True))
    assert (finished / "certificates.png").is_file() and (finished / "certificates.md").is_file()
    assert card["certificates"] == {"monotonic": [proofs]}
    for form in ("scorecard.html", "scorecard.md"):
        assert "Answers that are proved" in (finished / form).read_text()
    other, same = (
        plan("digits", ["encoder"], [0], SHORT, finished, Beyond(certify=eps))[0] for eps in ((0.1,), (0.001, 0.02))
    )
    assert same.finished and not other.finished  # only what was asked for is there


def test_data_that_cannot_be_corrupted_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "--config", "cached", "--out", str(tmp_path), "--robustness"])
    assert stopped.value.code == 2
    assert "`--robustness` must be used with data that can corrupt their queries" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["compare", "--config", "digits", "--out", str(tmp_path), "--certify", "0.01", "-1"])
    assert "`--certify` must be positive changes, in deviations of the features" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
