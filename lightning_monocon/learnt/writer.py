# SPDX-License-Identifier: Apache-2.0
"""Write the codec of a learnt code when its training ends."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_monocon.codes import save
from lightning_monocon.learnt.module import LearntCode


class CodecWriter(Callback):
    """Write the codec of a `LearntCode` at the end of a fit, for `lightning_monocon.codes.load`.

    Args:
        folder: Where it goes, below the folder of the run.
    """

    def __init__(self, folder: str = "codec") -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``codec.json``, ``codec.safetensors`` and what else `lightning_monocon.codes.save` writes.

        Raises:
            TypeError: If the model is not a `LearntCode`.
        """
        if not isinstance(pl_module, LearntCode):
            raise TypeError(f"`model` must be a LearntCode to write its codec; got {type(pl_module).__name__}.")
        if trainer.is_global_zero and pl_module.code is not None:
            folder = Path(trainer.default_root_dir) / self.folder
            folder.mkdir(parents=True, exist_ok=True)
            save(pl_module.codec(), folder)
