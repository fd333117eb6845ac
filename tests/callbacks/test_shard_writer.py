# SPDX-License-Identifier: Apache-2.0
import json
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from helpers.killed_writing import CLEAN
from helpers.patience import PATIENCE
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import ShardWriter
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.inference.embed import embed
from lightning_monocon.inference.shards import Shards

SCRIPT = Path(__file__).parents[1] / "processes" / "predict_shards.py"
SIZES = {"gallery": 1131, "query": 540}


def words(out: Path, devices: int = 1, pause: float = 0.0, kind: str = "safetensors") -> list[str]:
    return [sys.executable, str(SCRIPT), str(out), str(devices), str(pause), kind]


def embed_again(out: Path, **options: Any) -> int:
    """Run to the end; return how many rows this run has embedded."""
    done = subprocess.run(words(out, **options), env=CLEAN, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    return sum(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("rows "))


@pytest.fixture(scope="module")
def truth() -> dict[str, Tensor]:
    """The same embeddings, in one process and in memory."""
    L.seed_everything(0, verbose=False)
    model = MonoCon(SmallCNN(1, (4, 8)))
    data = DigitsData(batch_size=64, seed=0)
    data.setup("predict")
    parts = (embed(model, loader) for loader in data.predict_dataloader())
    return {name: part["embeddings"] for name, part in zip(SIZES, parts, strict=True)}


def assert_equal_to(truth: dict[str, Tensor], out: Path) -> None:
    shards = Shards(out)
    assert len(shards) == sum(SIZES.values())
    for part, size in SIZES.items():
        rows = shards.read(part)
        assert np.array_equal(rows.ids, np.arange(size))
        assert rows.labels is not None and len(rows.labels) == size
        torch.testing.assert_close(torch.from_numpy(rows.embeddings), truth[part])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, truth: dict[str, Tensor]) -> tuple[Path, int, int]:
    """A run killed after some shards and then finished: the folder, the rows on the disk at the kill, those left."""
    out = tmp_path_factory.mktemp("killed") / "shards"
    process = subprocess.Popen(words(out, pause=0.2), env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while len(list(out.glob("gallery-*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with pytest.raises(ValueError, match=r"`path` must be finished; .* lacks rows of rank 0\. Run the same"):
        Shards(out)
    lines = (out / "index-00000.jsonl").read_text().splitlines()
    kept = sum(json.loads(line)["rows"] for line in lines)
    return out, kept, embed_again(out)


def test_a_killed_run_goes_on_at_its_shard(killed: tuple[Path, int, int], truth: dict[str, Tensor]) -> None:
    out, kept, embedded = killed
    assert kept >= 200
    assert kept + embedded == sum(SIZES.values())
    assert_equal_to(truth, out)


def test_a_finished_folder_is_left_alone(killed: tuple[Path, int, int]) -> None:
    out = killed[0]
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    assert embed_again(out) == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors")} == before


def test_a_second_prediction_says_in_one_sentence_that_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def predict() -> None:
        writer = ShardWriter(str(tmp_path / "out"))
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = L.Trainer(accelerator="cpu", callbacks=[writer], enable_checkpointing=False, **quiet)
        L.seed_everything(0, verbose=False)
        trainer.predict(MonoCon(SmallCNN(1, (4, 8))), datamodule=DigitsData(batch_size=512, seed=0))

    predict()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    caplog.set_level("INFO")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        predict()
    assert not [each for each in found if "across ranks is zero" in str(each.message)]
    said = [each for each in (*caplog.messages, *capsys.readouterr()) if "rows already" in each]
    assert said and f"{tmp_path / 'out'} holds all 1,671 rows already; nothing was embedded." in said[0]
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.safetensors")}.items() <= (
        before.items()
    )


def test_two_ranks_write_every_row_once(tmp_path: Path, truth: dict[str, Tensor]) -> None:
    out = tmp_path / "shards"
    embed_again(out, devices=2, kind="parquet")
    assert {path.name for path in out.glob("index-*.jsonl")} == {"index-00000.jsonl", "index-00001.jsonl"}
    assert_equal_to(truth, out)


class Named(Dataset[tuple[Tensor, Tensor]]):
    """Rows with names of their own."""

    def __init__(self, rows: Tensor) -> None:
        self.rows, self.ids = rows, [f"doc-{i:03d}" for i in range(len(rows))]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.rows[i], torch.tensor(i % 3)


class Plain(L.LightningModule):
    """Its embeddings are its inputs."""

    def predict_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        return batch[0]


def predict(writer: ShardWriter, loader: DataLoader[Any], model: Plain | None = None, **options: Any) -> None:
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[writer], **options)
    trainer.predict(model or Plain(), loader, return_predictions=False)


@pytest.mark.parametrize(("rows", "size", "files"), [(7, 20, 3), (20, 20, 1), (50, 20, 1), (1, 3, 3)])
def test_the_ids_of_the_data_set_are_kept(rows: int, size: int, files: int, tmp_path: Path) -> None:
    values = torch.randn(size, 4, generator=torch.Generator().manual_seed(0))
    predict(ShardWriter(str(tmp_path), rows=rows, kind="parquet"), DataLoader(Named(values), batch_size=8))
    found = Shards(tmp_path).read("rows")
    assert found.ids.tolist() == [f"doc-{i:03d}" for i in range(size)]
    assert torch.equal(torch.from_numpy(found.embeddings), values)
    assert len(list(tmp_path.glob("*.parquet"))) == files


class Stopping(Plain):
    """Fails at its third batch."""

    def predict_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        if batch_idx == 2:
            raise InterruptedError
        return super().predict_step(batch, batch_idx)


def test_loaders_of_the_trainer_are_passed_over_where_they_are_written(tmp_path: Path) -> None:
    values = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(values), batch_size=5)
    with pytest.raises(InterruptedError):
        predict(ShardWriter(str(tmp_path), rows=8), loader, Stopping())
    first = tmp_path / "rows-00000-00000.safetensors"
    before = first.stat().st_mtime_ns
    predict(ShardWriter(str(tmp_path), rows=8), DataLoader(TensorDataset(values), batch_size=3))
    found = Shards(tmp_path).read("rows")
    assert found.ids.tolist() == list(range(20)) and first.stat().st_mtime_ns == before
    assert torch.equal(torch.from_numpy(found.embeddings), values)


@pytest.mark.parametrize(
    ("loader", "sentence"),
    [
        (DataLoader(TensorDataset(torch.zeros(4, 2)), shuffle=True), "`predict_dataloader` must keep the order"),
        (
            DataLoader(TensorDataset(torch.zeros(4, 2)), batch_sampler=[[0, 1], [2, 3]]),
            "`predict_dataloader` must make its batches with PyTorch's own `BatchSampler`; got list",
        ),
    ],
    ids=["shuffled", "own batches"],
)
def test_loaders_that_cannot_be_shortened_are_refused(loader: DataLoader[Any], sentence: str, tmp_path: Path) -> None:
    class Data(L.LightningDataModule):
        def predict_dataloader(self) -> DataLoader[Any]:
            return loader

    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[ShardWriter(str(tmp_path / "out"))]
    )
    with pytest.raises(ValueError, match=sentence):
        trainer.predict(Plain(), datamodule=Data(), return_predictions=False)


@pytest.mark.parametrize(("name", "value"), [("rows", 0), ("kind", "csv"), ("out", "")])
def test_wrong_options_are_named(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be .*[,;] got {value!r}"):
        ShardWriter(**{"out": str(tmp_path), name: value})
