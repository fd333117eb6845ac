# SPDX-License-Identifier: Apache-2.0
"""One rank of a watched fit on two gloo ranks; run by the landscape's tests. Writes its number of evaluations."""

import sys
import warnings
from pathlib import Path

import lightning.pytorch as L
import torch
from helpers.two_ranks import trainer

from lightning_monocon import MonoCon
from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN

warnings.simplefilter("ignore")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    L.seed_everything(0, verbose=False)
    watch = SemanticLandscape(probe=100, schedule=1, budget=None)
    run = trainer(watch, max_epochs=3, default_root_dir=folder)
    run.fit(MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=1), datamodule=DigitsData(batch_size=128, seed=0))
    evaluations = 0 if watch.tracker is None else len(watch.tracker.trajectory)
    (folder / f"rank{run.global_rank}").write_text(str(evaluations))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
