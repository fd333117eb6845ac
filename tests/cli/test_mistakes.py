# SPDX-License-Identifier: Apache-2.0
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.short_run import SHORT

from lightning_monocon.cli import main
from lightning_monocon.runs.folder import RunFolder


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
            ["--config", "digits", "--data", "EmbeddingDat"],
            "`data`: there is no class 'EmbeddingDat'; did you mean 'EmbeddingData'?",
        ),
        (
            ["--config", "digits", "--data", "SNLIData"],
            "`data` names the class lightning_monocon.data.SNLIData, which needs root: give `--data.root VALUE`",
        ),
        (["--config", "digits", "--data.batch_size=many"], "`data.batch_size` must be int; got 'many'"),
        (
            ["--config", "digits", "--model.head", "mpl"],
            "`model.head` must be one of 'monotonic', 'mlp', 'linear', 'none'",
        ),
        (
            ["--config", "digits", "--trainer.max_epochs", "many"],
            "`trainer.max_epochs` must be int or null; got 'many'",
        ),
        (
            ["--config", "digits", "--run_dir"],
            "argument --run-dir: expected one argument; `monocon fit --help` lists the",
        ),
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
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("model: {temprature: 0.2}", "`model.temprature` is not a key of a recipe; did you mean `model.temperature`?"),
        ("trainr: {max_epochs: 3}", "`trainr.max_epochs` is not a key of a recipe; did you mean `trainer.max_epochs`?"),
        ("model: {lr_head: 1}\ntrainer: {}\nmodel: {nested: true}", "has the key 'model' on lines 1 and 3"),
        ("model: {lr_head: 1, lr_head: 2}", "has the key 'model.lr_head' twice on line 1"),
        ("model: {lr_head: 0.1", "is not valid YAML: expected ',' or '}'"),
        ("model: {head: null}", "`model.head` must be one of 'monotonic', 'mlp', 'linear', 'none'"),
        ("model: {head: monotone}", "; got 'monotone'; did you mean 'monotonic'?"),
        ("model: {warmup_epochs: null}", "`model.warmup_epochs` must be int; got null. Leave the key out for the"),
        ("model: {lr_head: null}", "`model.lr_head` must be float; got null."),
        (
            "model: {encoder: {class_path: SmallCNN, init_args: {widths: null}}}",
            "`model.encoder.init_args.widths` must be Sequence[int]; got null.",
        ),
        (
            "data: {class_path: DigitsData, init_args: {batch_size: null}}",
            "`data.init_args.batch_size` must be int; got null. Leave the key out for the default, 256, or",
        ),
        (
            "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitor: loss, mode: null}}]}",
            "`trainer.callbacks[0].init_args.mode` must be str; got null. Leave the key out for the default, 'min'",
        ),
        (
            "data: {class_path: FashionMNISTData, init_args: {root: r, batch_size: null}}",
            "`data.init_args.batch_size` must be int; got null.",
        ),
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


def test_what_a_run_refuses_is_one_sentence(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with a run in it, one that is in use, and settings that drifted."""
    finished = Path(shutil.copytree(finished, tmp_path / "run"))  # a refusal is recorded
    words = ["fit", "--config", "digits", "--run_dir", str(finished), *SHORT]
    before = (finished / "record.jsonl").read_bytes()
    assert "already holds a run. Choose another, or resume that run" in one_sentence(words, capsys, status=1)
    holder = RunFolder(finished)
    holder.claim(resume=True)
    assert "`--run-dir` must not be in use;" in one_sentence([*words, "--resume", "auto"], capsys, status=1)
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
    with pytest.raises(ValueError, match=r"`model\.head` must be one of"), monkeypatch.context() as patch:
        patch.setenv("MONOCON_TRACEBACK", "1")
        (tmp_path / "r.yaml").write_text("model: {head: null}")
        main([*words, "--config", str(tmp_path / "r.yaml")])


@pytest.mark.parametrize("name", ["CIFAR100Data", "ImageFolderData", "SNLIData", "EmbeddingData", "EmbeddingPairs"])
def test_data_are_known_by_their_names_in_a_fresh_process(name: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(f"data: {{class_path: {name}}}")
    words = [sys.executable, "-m", "lightning_monocon", "fit", "--config", "digits", "--config", "r.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(rf"names the class lightning_monocon\.\w+\.{name}, which needs (root|train)", done.stderr)
