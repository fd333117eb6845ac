# SPDX-License-Identifier: Apache-2.0
"""A whole run on sentences: a tiny model, small files, every command."""

import json
from pathlib import Path

import pytest
import torch
from helpers.sentence_files import write_pairs
from helpers.short_run import GEOMETRY
from helpers.tiny_text import BagOfWords, save_model
from scipy.stats import spearmanr

pytest.importorskip("transformers", reason="the text extra is not installed")
pytest.importorskip("pyarrow", reason="the text extra is not installed")

from lightning_monocon import MonoCon
from lightning_monocon.cli.trainer import run
from lightning_monocon.data import SNLIData
from lightning_monocon.inference.shards import Shards


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What every command is given."""
    model = save_model(tmp_path_factory.mktemp("model"))
    root = write_pairs(tmp_path_factory.mktemp("data"))
    return [
        "--config=snli",
        f"--model.encoder.init_args.model={model}",
        "--model.lr_encoder=1e-2",
        "--model.lr_head=1e-2",
        f"--data.root={root}",
        f"--data.tokenizer={model}",
        "--data.max_length=32",
        "--data.batch_size=8",
        "--data.num_workers=0",
        "--trainer.max_epochs=3",
        "--trainer.accelerator=cpu",
        "--trainer.log_every_n_steps=1",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]


@pytest.fixture(scope="module")
def finished(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short finished run."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    run(["fit", *words, "--run_dir", str(folder)])
    return folder


def metrics(folder: Path) -> dict[int, dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    return {row["epoch"]: row["metrics"] for row in rows if "val/spearman" in row.get("metrics", {})}


def epoch_of_the_best(folder: Path) -> int:
    """The checkpoint was written when this epoch had ended, and says which is the next."""
    return int(torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["epoch"]) - 1


def test_validation_has_spearman_and_geometry_and_no_neighbours(finished: Path) -> None:
    found = metrics(finished)
    assert set(found) == {1, 2}  # the warm-up is not validated
    names = GEOMETRY | {"spearman"}
    for values in found.values():
        assert set(values) == {f"val/{name}" for name in names} | {f"val/encoder/{name}" for name in names}


def test_the_best_checkpoint_has_the_best_spearman(finished: Path) -> None:
    found = metrics(finished)
    assert epoch_of_the_best(finished) == max(found, key=lambda epoch: found[epoch]["val/spearman"])


def test_spearman_is_that_of_the_whole_file(finished: Path, words: list[str]) -> None:
    """By another route: one sentence at a time through the loaded model, the correlation by SciPy."""
    options = dict(word.lstrip("-").split("=", 1) for word in words)
    data = SNLIData(options["data.root"], tokenizer=options["data.tokenizer"], batch_size=8)
    data.setup("fit")
    model = MonoCon.load_from_checkpoint(finished / "checkpoints" / "best.ckpt")
    pairs, scores = data.scored["val"]
    cosines = []
    with torch.inference_mode():
        for texts in zip(*pairs, strict=True):
            first, second = (model(data._collate(([text], [0]))[0])[0].double() for text in texts)
            cosines.append(float(first @ second / first.norm() / second.norm()))
    expected = spearmanr(cosines, scores).statistic
    found = metrics(finished)[epoch_of_the_best(finished)]
    assert found["val/spearman"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("command", "stage"), [("validate", "val"), ("test", "test")])
def test_validate_and_test(
    finished: Path, words: list[str], command: str, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = run([command, *words, "--ckpt_path", str(finished / "checkpoints" / "best.ckpt")])
    values = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    assert f"{stage}/spearman" in capsys.readouterr().out
    if stage == "val":
        assert values["val/spearman"] == max(row["val/spearman"] for row in metrics(finished).values())


def test_predict_keeps_the_pairs_in_their_order(finished: Path, words: list[str], tmp_path: Path) -> None:
    checkpoint, out = str(finished / "checkpoints" / "best.ckpt"), tmp_path / "out"
    cli = run(["predict", *words, "--ckpt_path", checkpoint, "--out", str(out)])
    pairs = cli.datamodule.pairs["test"]
    model = MonoCon.load_from_checkpoint(checkpoint)
    shards = Shards(out)
    for part, texts in (("gallery", pairs.first), ("query", pairs.second)):
        rows = torch.cat([torch.as_tensor(shard.embeddings) for shard in shards.stream(part)])
        with torch.inference_mode():
            expected = model(cli.datamodule._collate((texts, [0] * len(texts)))[0])
        torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-5)


def test_early_stopping_watches_spearman(words: list[str], tmp_path: Path) -> None:
    options = ["--trainer.max_epochs=9", "--model.lr_encoder=0", "--model.lr_head=0"]
    callback = "--trainer.callbacks.patience=2"  # of the last callback of the recipe
    cli = run(["fit", *words, *options, callback, "--run_dir", str(tmp_path / "run"), "--report=false"])
    assert cli.trainer.current_epoch == 4  # warm-up, the best, two without a better one


def test_a_module_of_the_users_own(words: list[str], tmp_path: Path) -> None:
    own = [word for word in words if not word.startswith(("--config", "--model.encoder"))]
    data = ["--data=lightning_monocon.data.SNLIData", "--trainer.callbacks+=SentenceSimilarity"]
    model = ["--model.encoder=helpers.tiny_text.BagOfWords", "--model.warmup_epochs=1"]
    run(["fit", *data, *own, *model, "--run-dir", str(tmp_path / "run")])
    loaded = MonoCon.load_from_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt", encoder=BagOfWords())
    assert loaded.encoder.out_features == 16
