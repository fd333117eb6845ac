# SPDX-License-Identifier: Apache-2.0
"""Embed a synthetic corpus to shards through the trainer, read it back, compare every number; peak memory of each.

    python benchmarks/shards.py [--rows 1000000] [--width 384] [--kind safetensors]

The two halves run in processes of their own, so that each peak is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

RESULTS = Path(__file__).parent / "results"
BATCH = 1024


class Corpus(Dataset[Tensor]):
    """Row ``i``, feature ``j`` is a function of ``(i, j)``, so that nothing has to be kept to compare with."""

    def __init__(self, rows: int, width: int) -> None:
        self.rows, self.columns = rows, np.arange(width, dtype=np.uint64) * np.uint64(2654435761)

    def __len__(self) -> int:
        return self.rows

    def __getitems__(self, items: Sequence[int]) -> Tensor:
        keys = np.asarray(items, dtype=np.uint64)[:, None] * np.uint64(1315423911) + self.columns
        return torch.from_numpy((keys % np.uint64(1 << 20)).astype(np.float32) / np.float32(1 << 20))


def as_is(batch: Tensor) -> Tensor:
    return batch


def write(out: Path, rows: int, width: int, kind: str) -> None:
    import lightning.pytorch as L
    from torch.utils.data import DataLoader

    from lightning_monocon.callbacks import ShardWriter

    class Identity(L.LightningModule):
        def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return batch

    class Data(L.LightningDataModule):
        def predict_dataloader(self) -> DataLoader[Tensor]:
            return DataLoader(Corpus(rows, width), batch_size=BATCH, collate_fn=as_is)

    writer = ShardWriter(str(out), kind=kind)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[writer])
    trainer.predict(Identity(), datamodule=Data(), return_predictions=False)


def read(out: Path, rows: int, width: int) -> None:
    from lightning_monocon.inference.shards import Shards

    corpus, seen = Corpus(rows, width), 0
    for piece in Shards(out).stream("rows"):
        assert np.array_equal(piece.ids, np.arange(seen, seen + len(piece.ids)))
        for start in range(0, len(piece.ids), BATCH):
            expected = corpus.__getitems__(piece.ids[start : start + BATCH].tolist())
            assert np.array_equal(piece.embeddings[start : start + BATCH], expected.numpy())
        seen += len(piece.ids)
    assert seen == rows


def measured(step: str, options: argparse.Namespace, out: str) -> dict[str, float]:
    """Run one half in a process of its own; return its seconds and its peak memory."""
    words = ["--rows", str(options.rows), "--width", str(options.width), "--kind", options.kind]
    command = [sys.executable, __file__, *words, "--step", step, "--out", out]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--kind", choices=["safetensors", "parquet"], default="safetensors")
    parser.add_argument("--step", choices=["write", "read"], help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        start = time.process_time()
        out = Path(options.out)
        if options.step == "write":
            write(out, options.rows, options.width, options.kind)
        else:
            read(out, options.rows, options.width)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"cpu_seconds": round(time.process_time() - start, 1), "peak_mb": round(peak)}))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = {step: measured(step, options, f"{folder}/shards") for step in ("write", "read")}
        size = sum(path.stat().st_size for path in Path(folder, "shards").iterdir())
    report(options, result, size)


def report(options: argparse.Namespace, result: dict[str, dict[str, float]], size: int) -> None:
    lines = [
        f"# Shards, {options.rows} x {options.width}, {options.kind}",
        "",
        f"{date.today()}, torch {torch.__version__}, CPU. Written through `Trainer.predict` with `ShardWriter`, read "
        "back with `Shards.stream`; every id and every number compared, every checksum verified.",
        "",
        "| step | CPU s | peak memory, MB |",
        "| --- | ---: | ---: |",
        *(f"| {step} | {values['cpu_seconds']} | {values['peak_mb']} |" for step, values in result.items()),
        "",
        f"On the disk: {size / 1e6:.0f} MB; the numbers alone are {options.rows * options.width * 4 / 1e6:.0f} MB.",
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / f"{date.today()}-shards_{options.kind}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
