# SPDX-License-Identifier: Apache-2.0
"""One rank of a fit on two gloo ranks; run by tests/training/test_ddp.py. Writes what it ended with to its folder."""

import sys
import warnings
from pathlib import Path

import lightning.pytorch as L
import torch
from helpers.two_ranks import trainer

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingMetrics, ExactResume
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN

warnings.simplefilter("ignore")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    L.seed_everything(0, verbose=False)
    model = MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=1, lr_warmup=1e-3, lr_encoder=3e-3, lr_head=3e-3)
    run = trainer(EmbeddingMetrics(), ExactResume(seed=0), max_epochs=3)
    run.fit(model, datamodule=DigitsData(batch_size=128, seed=0))
    metrics = {name: value.item() for name, value in run.callback_metrics.items()}
    state = {"weights": model.state_dict(), "metrics": metrics, "steps": run.global_step, "phase": model.phase}
    torch.save(state, folder / f"rank{run.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
