# SPDX-License-Identifier: Apache-2.0
"""One rank of a fit on sentences on two gloo ranks; run by tests/callbacks/test_sentence_similarity.py."""

import sys
import warnings
from pathlib import Path

import lightning.pytorch as L
import torch
from helpers.two_ranks import trainer

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingMetrics, SentenceSimilarity
from lightning_monocon.data import SNLIData
from lightning_monocon.encoders import TextEncoder

warnings.simplefilter("ignore")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    L.seed_everything(0, verbose=False)
    model = MonoCon(TextEncoder(str(folder / "model")), warmup_epochs=1, lr_warmup=1e-3, lr_encoder=3e-3, lr_head=3e-3)
    run = trainer(EmbeddingMetrics(), SentenceSimilarity(), max_epochs=2)
    data = SNLIData(str(folder / "data"), tokenizer=str(folder / "model"), max_length=32, batch_size=4, seed=0)
    run.fit(model, datamodule=data)
    metrics = {name: value.item() for name, value in run.callback_metrics.items()}
    torch.save({"weights": model.state_dict(), "metrics": metrics}, folder / f"rank{run.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
