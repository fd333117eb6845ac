# SPDX-License-Identifier: Apache-2.0
"""Embed the digits to shards, on one rank or two, killed where it is told; run by tests/inference/test_shards.py."""

import os
import sys
import time
import warnings
from typing import Any

import lightning.pytorch as L
import torch

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import ShardWriter
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN

warnings.simplefilter("ignore")


class Counting(MonoCon):
    """Says how many rows it embeds, and takes its time."""

    pause = 0.0

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        time.sleep(self.pause)
        os.write(1, f"rows {len(batch[1])}\n".encode())  # in one piece: two ranks share the pipe
        return super().predict_step(batch, batch_idx, dataloader_idx)


def main(out: str, devices: int, pause: float, kind: str) -> None:
    torch.set_num_threads(1)
    L.seed_everything(0, verbose=False)
    model = Counting(SmallCNN(1, (4, 8)))
    model.pause = pause
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ShardWriter(out, rows=100, kind=kind)],
    )
    trainer.predict(model, datamodule=DigitsData(batch_size=64, seed=0), return_predictions=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
