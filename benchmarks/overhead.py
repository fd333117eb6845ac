# SPDX-License-Identifier: Apache-2.0
"""What exactness and durability cost a digits run.

Run    python benchmarks/overhead.py [--epochs 105] [--rounds 5]
Does   trains the recipe `digits` with and without them in turn, in one process on one thread, and compares CPU times
       round by round; writes results/DATE-overhead.md
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import lightning.pytorch as L
import torch
from harness import Row, markdown, write
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingMetrics, ExactResume, RollingCheckpoint, RunRecord, StopSignals
from lightning_monocon.data import DigitsData
from lightning_monocon.durable import DurableCheckpointIO
from lightning_monocon.encoders import SmallCNN

NOTHING = "neither: no checkpoint, Lightning's CSV log"
OURS = (
    "exact and durable, as the command does it: the record, a checkpoint every 560 steps (10 s on a core of its own) "
    "and at the end"
)
STOCK = "stock checkpoints, one an epoch, Lightning's CSV log"
OURS_EACH = "exact and durable, one checkpoint an epoch, the record"


def train(arm: str, epochs: int, folder: Path) -> float:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=105)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    arms = (NOTHING, OURS, STOCK, OURS_EACH)
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    for turn in range(-1, options.rounds):
        for arm in arms[turn % 4 :] + arms[: turn % 4]:  # no arm is always the first
            with tempfile.TemporaryDirectory() as folder:
                spent = train(arm, options.epochs if turn >= 0 else 11, Path(folder))
            if turn >= 0:  # the first round warms up
                seconds[arm].append(spent)
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
    print(markdown(rows))
    title = f"Exactness and durability: digits, {options.epochs} epochs of 4 steps, {options.rounds} rounds, CPU time"
    write("overhead", title, {"": rows})


if __name__ == "__main__":
    main()
