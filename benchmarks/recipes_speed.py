# SPDX-License-Identifier: Apache-2.0
"""Measure what a training step costs beside a bare PyTorch loop: heads on cached vectors, and `cifar100_lite`.

Run    python benchmarks/recipes_speed.py --data CIFAR100
CPU time of one thread. Model, loss, optimizer and batches of both are the same; the bare loop has neither Lightning nor
metrics nor schedule. The two take turns in one process. Writes results/DATE-recipes-speed.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from statistics import median

import lightning as L
import numpy as np
import torch
from harness import QUIET_TRAINER, Row, write
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_monocon import MonoCon
from lightning_monocon.data import CIFAR100Data
from lightning_monocon.encoders import EfficientNetLite0
from lightning_monocon.encoders.image.efficientnet_lite_weights import PACKAGED
from lightning_monocon.learnt import EmbeddingData

ROWS, WIDTH, BATCH = 50_000, 1_280, 512
IMAGES, PIXELS = 64, 64
QUIET = QUIET_TRAINER | {"limit_val_batches": 0, "num_sanity_val_steps": 0, "gradient_clip_val": 1.0}


class Marks(L.Callback):
    """Note the CPU time at which each step begins."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_train_batch_start(self, *_: object) -> None:
        """Note the time."""
        self.at.append(time.process_time())


def ours(model: MonoCon, data: L.LightningDataModule, steps: int) -> float:
    """Return the CPU seconds of a step of `Trainer.fit`, the fetch of its batch included."""
    marks = Marks()
    trainer = L.Trainer(**QUIET, max_epochs=1, limit_train_batches=steps + 1, callbacks=[marks])
    trainer.fit(model, datamodule=data)
    return (marks.at[-1] - marks.at[0]) / (len(marks.at) - 1)


def bare(model: MonoCon, batches: Iterable[tuple[Tensor, Tensor]], steps: int) -> float:
    """Return the same of a loop that a reader would write."""
    network = nn.Sequential(model.encoder, model.head).train()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-3, weight_decay=1e-4)
    at = []
    for inputs, labels in islice(batches, steps + 1):
        at.append(time.process_time())
        optimizer.zero_grad()
        model.loss(network(inputs), labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return (at[-1] - at[0]) / (len(at) - 1)


def in_memory(rows: Tensor, labels: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """Yield batches of rows that lie in memory in the order in which they are taken: no loader."""
    return zip(rows.split(BATCH), labels.split(BATCH), strict=True)


def compared(name: str, times: list[tuple[float, float]]) -> Row:
    ratios = [mine / theirs for mine, theirs in times]
    mine, theirs = (median(column) for column in zip(*times, strict=True))
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return {
        "step": name,
        "ours, ms": 1000 * mine,
        "bare loop, ms": 1000 * theirs,
        "ratio of medians": f"{mine / theirs:.3f}",
        "by round": spread,
    }


def heads(file: Path, rounds: int, steps: int) -> list[Row]:
    """Compare steps of two heads on cached vectors, which the bare loop finds in memory, float32."""
    data = EmbeddingData(str(file), batch_size=BATCH)
    data.setup("fit")
    rows, labels = data.train.rows[: (steps + 1) * BATCH], data.train.labels[: (steps + 1) * BATCH]
    found = []
    for head in ("monotonic", "mlp"):
        times = []
        for turn in range(rounds + 1):
            L.seed_everything(turn, verbose=False)
            models = [
                MonoCon(nn.Identity(), head=head, in_features=WIDTH, out_features=64, warmup_epochs=0) for _ in "ab"
            ]
            times.append((ours(models[0], data, steps), bare(models[1], in_memory(rows, labels), steps)))
        found.append(compared(f"{head} head, {BATCH} vectors", times[1:]))  # the first round warms up
    return found


def images(root: Path, rounds: int, steps: int) -> list[Row]:
    """Compare joint steps of the recipe `cifar100_lite`; both loops augment by the same code."""
    data = CIFAR100Data(str(root), IMAGES)
    data.setup("fit")
    times = []
    for turn in range(rounds + 1):
        L.seed_everything(turn, verbose=False)
        models = [MonoCon(EfficientNetLite0(PACKAGED, image_size=PIXELS), warmup_epochs=0) for _ in "ab"]
        order = [(0, int(index)) for index in torch.randperm(len(data.train))]
        loader = DataLoader(data.train, IMAGES, sampler=order, collate_fn=lambda batch: batch)  # type: ignore[arg-type]
        times.append((ours(models[0], data, steps), bare(models[1], loader, steps)))
    return [compared(f"cifar100_lite, {IMAGES} images of {PIXELS} pixels", times[1:])]


def epoch(file: Path, rounds: int) -> list[Row]:
    """Time the loader alone: all batches of an epoch of train rows."""
    data = EmbeddingData(str(file), batch_size=BATCH)
    started = time.process_time()
    data.setup("fit")
    read, times = time.process_time() - started, []
    for _ in range(rounds):
        started = time.process_time()
        count = sum(len(labels) for _, labels in data.train_dataloader())
        times.append(time.process_time() - started)
    return [{"vectors": count, "width": WIDTH, "read once, CPU s": read, "epoch, CPU s": median(times)}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-100")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="steps of a head in a round; images get a fifth of them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vectors.npz"
        rows = draw.standard_normal((ROWS, WIDTH), dtype=np.float32).astype(np.float16)
        np.savez(file, embeddings=np.abs(rows), labels=draw.integers(0, 100, ROWS))
        tables = {
            "An epoch of `EmbeddingData`, no head": epoch(file, options.rounds),
            "A step, CPU time of one thread": heads(file, options.rounds, options.steps)
            + images(options.data, options.rounds, max(3, options.steps // 5)),
        }
    print(write("recipes-speed", "Training steps beside a bare loop", tables))


if __name__ == "__main__":
    main()
