# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from helpers.patience import PATIENCE
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingWriter, ShardWriter
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.inference.embed import embed
from lightning_monocon.inference.shards import Rows, ShardFolder, Shards, Space, model_stamp

SCRIPT = Path(__file__).parents[1] / "processes" / "predict_shards.py"
SIZES = {"gallery": 1131, "query": 540}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PL_"))}


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


def written(folder: Path) -> Path:
    shards = ShardFolder(folder, Space("model", 1, "safetensors", 4))
    for start in range(0, 12, 4):
        shards.append("rows", Rows(np.arange(start, start + 4), np.full((4, 2), start, np.float32), None))
    shards.close(done=True)
    return folder


def test_shards_of_another_model_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(ValueError, match=r"`out` must be a new folder or hold .* has model 'model', not 'other'\."):
        ShardFolder(tmp_path, Space("other", 1, "safetensors", 4))


def test_weights_make_the_model(tmp_path: Path) -> None:
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    assert model_stamp(first) != model_stamp(second)
    second.load_state_dict(first.state_dict())
    assert model_stamp(first) == model_stamp(second)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    held = ShardFolder(tmp_path, Space("model", 1, "safetensors", 4))
    with pytest.raises(RuntimeError, match=r"`out` must not be in use"):
        ShardFolder(tmp_path, held.space)
    held.close(done=False)


def test_a_damaged_shard_is_named_and_written_again_with_what_follows(tmp_path: Path) -> None:
    broken = written(tmp_path) / "rows-00000-00001.safetensors"
    data = bytearray(broken.read_bytes())
    data[-1] ^= 1
    broken.write_bytes(data)
    with pytest.raises(ValueError, match=r"`path` must hold whole shards; its sha256 is .*: it was cut short"):
        list(Shards(tmp_path).stream("rows"))
    again = ShardFolder(tmp_path, Space("model", 1, "safetensors", 4))
    assert (again.finished("rows"), again.done) == (4, False)
    again.close(done=False)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "lightning-monocon/shards/0"}, r"`path` must have the layout 'lightning-monocon/shards/2'"),
        ({"ranks": 2}, r"`path` must be finished; .* lacks rows of rank 1"),
    ],
)
def test_another_layout_is_refused(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    space = written(tmp_path) / "space.json"
    space.write_text(json.dumps(json.loads(space.read_text()) | change))
    with pytest.raises(ValueError, match=sentence):
        Shards(tmp_path)


def test_what_is_no_folder_of_shards_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` must be a folder of shards written by `monocon predict`"):
        Shards(tmp_path)
    with pytest.raises(ValueError, match=r"`part` must be one of 'rows'; got 'gallery'"):
        list(Shards(written(tmp_path)).stream("gallery"))


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


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(OSError, match=r"^`out` must be a folder that can be written; .* is not \(.*\). Choose"):
            ShardFolder(out, Space("m", 1, "safetensors", 2))
    assert (tmp_path / "file").read_text() == "mine"


STOPPED = """
import os, sys
import numpy as np
from lightning_monocon.inference import shards
def stop(*_):
    print("ready", flush=True)
    sys.stdin.read()
rows = shards.Rows(np.arange(2), np.zeros((2, 3), np.float32), None)
KILLED
"""
SHARD = """
folder = shards.ShardFolder(shards.Path(sys.argv[1]), shards.Space("m", 2, "safetensors", 2), rank=1)
os.replace = stop
folder.append("rows", rows)
"""
ONE_FILE = """
import torch
from lightning_monocon.scorecard.embeddings import EmbeddingSet
os.replace = stop
EmbeddingSet(torch.eye(8), torch.arange(8) % 2, torch.eye(8), torch.arange(8) % 2).save(sys.argv[1])
"""


def killed_while_writing(code: str, out: Path) -> None:
    """Kill a process after it has written a temporary file and before the file has its name."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED.replace("KILLED", code), str(out)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=CLEAN,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()


def temporary(folder: Path) -> list[str]:
    return sorted(path.name.rpartition(".tmp")[0].rpartition(".")[0] for path in folder.glob(".*.tmp"))


def test_what_a_kill_left_of_a_rank_is_cleared_by_that_rank(tmp_path: Path) -> None:
    out, space = tmp_path / "out", Space("m", 2, "safetensors", 2)
    killed_while_writing(SHARD, out)
    left = temporary(out)
    assert any("rows-00001-00000.safetensors" in name for name in left)
    (out / ".thesis.tex.tmp").write_text("mine")
    (out / ".rows-00000-00000.safetensors.77.tmp").write_text("the other rank is writing this")
    ShardFolder(out, space, rank=1).close(done=False)
    assert temporary(out) == [".rows-00000-00000.safetensors", ".thesis"]


def test_what_a_kill_left_of_one_file_is_cleared(tmp_path: Path) -> None:
    out = tmp_path / "all.safetensors"
    killed_while_writing(ONE_FILE, out)
    assert temporary(tmp_path) == [".all.safetensors"]
    mine = tmp_path / f".all.safetensors.{os.getpid()}.tmp"  # a process that runs
    mine.write_text("x")
    (tmp_path / ".all.safetensors.old.tmp").write_text("no number of a process")
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    EmbeddingWriter(str(out)).setup(trainer, MonoCon(SmallCNN(1, (4, 8))), "predict")
    assert sorted(path.name for path in tmp_path.iterdir()) == [mine.name, ".all.safetensors.old.tmp"]
