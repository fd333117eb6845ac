# SPDX-License-Identifier: Apache-2.0
"""What exactness and durability cost a digits run.

Run    python benchmarks/overhead.py [--epochs 210] [--rounds 0]
Does   trains the recipe `digits` once, on one thread, and adds up the CPU time spent in what makes it exact and
       durable, every hook and every save of it; writes results/DATE-overhead.md. With rounds it also trains with and
       without them in turn and compares CPU times round by round; writes results/DATE-overhead_paired.md
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from types import FunctionType

import lightning.pytorch as L
import torch
from harness import Row, markdown, write
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingMetrics, ExactResume, RollingCheckpoint, RunRecord, StopSignals
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.loggers.record import RecordLogger
from lightning_monocon.runs.checkpoints import DurableCheckpointIO

NOTHING = "neither: no checkpoint, Lightning's CSV log"
OURS = (
    "exact and durable, as the command does it: the record, a checkpoint every 560 steps (10 s on a core of its own) "
    "and at the end"
)
STOCK = "stock checkpoints, one an epoch, Lightning's CSV log"
OURS_EACH = "exact and durable, one checkpoint an epoch, the record"


class Clock:
    """Adds up the CPU time spent in the methods it is shown, by the name of their owner."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def watch(self, owner: object, method: str) -> None:
        """Put a timed method in the place of an object's own."""
        plain, name = getattr(owner, method), getattr(owner, "__name__", type(owner).__name__)
        self.spent.setdefault(name, 0.0)

        def timed(*arguments: object, **options: object) -> object:
            started = time.process_time()
            try:
                return plain(*arguments, **options)
            finally:
                self.spent[name] += time.process_time() - started

        setattr(owner, method, timed)

    def watch_hooks(self, callback: L.Callback) -> None:
        """Time every hook that a callback of ours has itself, those between two steps included."""
        for method, found in vars(type(callback)).items():
            if isinstance(found, FunctionType) and not method.startswith("_"):
                self.watch(callback, method)


def train(arm: str, epochs: int, folder: Path, clock: Clock | None = None) -> float:
    """Return the CPU seconds of one run, from a model in memory to its end."""
    L.seed_everything(0, verbose=False)
    model = MonoCon(SmallCNN(1, (16, 32, 64)), lr_encoder=3e-3, lr_head=3e-3, lr_warmup=1.5e-3, warmup_epochs=10)
    callbacks: list[L.Callback] = [EmbeddingMetrics()]
    exact = [StopSignals(), ExactResume(seed=0), RunRecord(str(folder))]
    if arm == OURS:
        callbacks += [*exact, RollingCheckpoint(str(folder / "checkpoints"), every_n_steps=560)]
    elif arm == OURS_EACH:
        callbacks += [*exact, RollingCheckpoint(str(folder / "checkpoints"))]
    elif arm == STOCK:
        callbacks += [ModelCheckpoint(folder / "checkpoints", "last", save_on_train_epoch_end=True)]
    if clock is not None:
        for callback in callbacks[1:]:
            clock.watch_hooks(callback)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        gradient_clip_val=1.0,
        check_val_every_n_epoch=10,
        log_every_n_steps=4,
        logger=CSVLogger(folder) if arm in (NOTHING, STOCK) else False,
        enable_checkpointing=arm != NOTHING,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[DurableCheckpointIO()] if arm in (OURS, OURS_EACH) else [],
        callbacks=callbacks,
    )
    started = time.process_time()
    trainer.fit(model, datamodule=DigitsData(batch_size=256, seed=0))
    return time.process_time() - started


def within(epochs: int) -> list[Row]:
    """Return the share of one run's CPU time that each part took."""
    clock, whole = Clock(), RecordLogger.log_metrics
    rows_written = 0.0

    def log_metrics(self: RecordLogger, metrics: dict[str, float], step: int | None = None) -> None:
        nonlocal rows_written
        started = time.process_time()
        whole(self, metrics, step)
        rows_written += time.process_time() - started

    RecordLogger.log_metrics = log_metrics  # type: ignore[assignment, method-assign]
    with tempfile.TemporaryDirectory() as folder:
        spent = train(OURS, epochs, Path(folder), clock)
    RecordLogger.log_metrics = whole  # type: ignore[method-assign]
    parts = {**clock.spent, "RecordLogger": rows_written}
    rows: list[Row] = [
        {"part": name, "CPU ms": round(1000 * part, 1), "% of the run": round(100 * part / spent, 2)}
        for name, part in parts.items()
    ]
    total = sum(parts.values())
    return [
        *rows,
        {"part": "together", "CPU ms": round(1000 * total, 1), "% of the run": round(100 * total / spent, 2)},
        {"part": "the run", "CPU ms": round(1000 * spent, 1), "% of the run": 100.0},
    ]


def paired(epochs: int, rounds: int) -> list[Row]:
    """Return the CPU times of runs with and without, and their ratios round by round."""
    arms = (NOTHING, OURS, STOCK, OURS_EACH)
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    for turn in range(rounds):
        for arm in arms[turn % 4 :] + arms[: turn % 4]:  # no arm is always the first
            with tempfile.TemporaryDirectory() as folder:
                seconds[arm].append(train(arm, epochs, Path(folder)))
    rows: list[Row] = []
    for arm, rival in ((OURS, NOTHING), (OURS_EACH, STOCK), (STOCK, NOTHING)):
        ratios = [100 * (ours / theirs - 1) for ours, theirs in zip(seconds[arm], seconds[rival], strict=True)]
        rows.append(
            {
                "run": arm,
                "against": rival,
                "CPU s": round(statistics.median(seconds[arm]), 2),
                "overhead %, median": round(statistics.median(ratios), 1),
                "lowest": round(min(ratios), 1),
                "highest": round(max(ratios), 1),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=210)
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        train(OURS, 11, Path(folder))  # warms up
    title = f"Exactness and durability: digits, {options.epochs} epochs of 4 steps, CPU time"
    rows = within(options.epochs)
    print(markdown(rows), flush=True)
    write("overhead", f"{title}, one run", {"By part": rows})
    if options.rounds:
        rows = paired(options.epochs, options.rounds)
        print(markdown(rows))
        write("overhead_paired", f"{title}, {options.rounds} rounds", {"With and without, in turn": rows})


if __name__ == "__main__":
    main()
