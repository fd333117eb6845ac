# SPDX-License-Identifier: Apache-2.0
"""What runs in the processes that campaigns start, stop and kill; loaded once by the server that forks them."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sklearn.datasets  # loaded here so that no child has to
import sklearn.model_selection  # noqa: F401
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

import lightning_monocon.cli.trainer  # noqa: F401
from lightning_monocon.cli import main
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN

FAIL_AT, PAUSE = "TORTURE_FAIL_AT", "TORTURE_PAUSE"

RECIPE = """\
seed_everything: 0
report: false
model:
  encoder: {class_path: reliability.targets.NoisyCNN, init_args: {width: 4}}
  warmup_epochs: 10
  lr_encoder: 3.0e-3
  lr_head: 3.0e-3
  lr_warmup: 1.5e-3
data:
  class_path: lightning_monocon.data.DigitsData
  init_args: {batch_size: 256}
trainer:
  accelerator: cpu
  max_epochs: 40
  gradient_clip_val: 1.0
  check_val_every_n_epoch: 10
  log_every_n_steps: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  callbacks: [{class_path: reliability.targets.Trace}]
"""


class NoisyCNN(nn.Module):
    """A small CNN with batch norm and dropout: what a random state in the wrong place would change."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(SmallCNN(1, (width, 2 * width)), nn.Dropout(0.2))
        self.out_features = 2 * width

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs)


class Trace(Callback):
    """Append one row a step to ``trace.jsonl``: where, learning rates, loss to the bit. Fail or pause if told to."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if os.environ.get(FAIL_AT) == str(trainer.global_step):
            raise FloatingPointError("told to fail")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
        row = [trainer.current_epoch, batch_idx, [rate.hex() for rate in rates], float(outputs["loss"]).hex()]
        with (Path(trainer.default_root_dir) / "trace.jsonl").open("a") as file:
            file.write(json.dumps([trainer.global_step, row]) + "\n")
        if os.environ.get(PAUSE):
            signal.pause()


class DyingDigits(DigitsData):
    """Digits whose loader processes die in the second epoch."""

    def __init__(self, how: str = "raise", num_workers: int = 1) -> None:
        super().__init__(num_workers=num_workers)
        self.how = how

    def setup(self, stage: str) -> None:
        super().setup(stage)
        whole = self.train.__getitems__

        def dying(items: Sequence[tuple[int, int]]) -> Any:
            if items[0][0] == 1:
                if self.how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise MemoryError("no room for a batch")
            return whole(items)

        self.train.__getitems__ = dying  # type: ignore[method-assign]


def command(words: list[str], log: str, environment: dict[str, str], user: int | None = None) -> None:
    """Be the process of ``monocon WORDS``, with its output in a file."""
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stderr = sys.__stderr__
    torch.set_num_threads(1)
    warnings.simplefilter("default")
    if user is not None:
        os.setuid(user)
    main(words)


def save_for_ever(folder: str) -> None:
    """Save 50 MB under the same names again and again; say after each how far it is."""
    from lightning_monocon.callbacks import RollingCheckpoint
    from lightning_monocon.durable import DurableCheckpointIO

    torch.set_num_threads(1)
    plugin, rolling = DurableCheckpointIO(), RollingCheckpoint(folder)
    for step in range(10**6):
        rolling._make_room()
        weights = torch.full((50 * 2**18,), float(step))
        plugin.save_checkpoint({"state_dict": {"w": weights}, "monocon": {}, "step": step}, rolling.path)
        half = Path(folder) / "half"
        half.write_text(str(step))
        half.rename(Path(folder) / "finished")
