# SPDX-License-Identifier: Apache-2.0
"""One rank of two fits of a sequence model on two gloo ranks, with and without a landscape; run by its tests."""

import sys
import warnings
from pathlib import Path

import lightning.pytorch as L
import torch
from helpers.two_ranks import trainer

from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.data.repeated import RepeatedBlocks
from lightning_monocon.encoders.attention_only import AttentionOnlyEncoder
from lightning_monocon.training.token_model import TokenModel

warnings.simplefilter("ignore")


def fit(folder: Path, *callbacks: L.Callback) -> tuple[int, list[float]]:
    L.seed_everything(0, verbose=False)
    model = TokenModel(AttentionOnlyEncoder(16, 12, width=8, attention_heads=2), 16)
    run = trainer(*callbacks, max_epochs=1, default_root_dir=folder)
    run.fit(model, datamodule=RepeatedBlocks(16, 12, 2, 4, batch_size=4, steps=12, val_size=16))
    return run.global_rank, [float(part.double().sum()) for part in model.state_dict().values()]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    watch = SemanticLandscape(32, "logits", 1, budget=None, strata="repetition", on_error="raise")
    rank, alone = fit(folder)
    _, watched = fit(folder, watch)
    evaluations = 0 if watch.tracker is None else len(watch.tracker.trajectory)
    (folder / f"rank{rank}").write_text(f"{evaluations} {alone == watched}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
