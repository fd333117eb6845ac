# SPDX-License-Identifier: Apache-2.0
"""Write this release's files for `test_legacy.py`: a checkpoint, its embeddings, the weights as safetensors.

Run    python tests/legacy/make.py, once a release, before it is tagged; never for a release that is out
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import save_file

import lightning_monocon
from lightning_monocon import MonoCon
from lightning_monocon.callbacks import ExactResume
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN

HERE = Path(__file__).parent


def inputs() -> torch.Tensor:
    """Return eight images, the same on every machine."""
    return (torch.arange(8 * 64).reshape(8, 1, 8, 8) % 17) / 16


def main() -> None:
    """Train for two epochs, one of each phase, and keep what a user would have."""
    L.seed_everything(0, verbose=False)
    model = MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saver = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True)
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=2, logger=False, callbacks=[ExactResume(), saver], limit_val_batches=0,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, datamodule=DigitsData(128, seed=0))
        content = (Path(folder) / "last.ckpt").read_bytes()
    stem = HERE / lightning_monocon.__version__
    stem.with_name(stem.name + ".ckpt").write_bytes(content)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    metadata = {"description": json.dumps(model.description), "version": lightning_monocon.__version__}
    with torch.no_grad():
        weights["expected"] = model.eval()(inputs())
    save_file(weights, stem.with_name(stem.name + ".safetensors"), metadata)


if __name__ == "__main__":
    main()
