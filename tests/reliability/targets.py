# SPDX-License-Identifier: Apache-2.0
"""What runs in the processes that campaigns start, stop and kill; loaded once by the server that forks them."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sklearn.datasets  # loaded here so that no child has to
import sklearn.model_selection  # noqa: F401
import torch
from torch import nn
from torch.utils.data import DataLoader

import lightning_monocon.cli.trainer  # noqa: F401
from lightning_monocon.cli import main
from lightning_monocon.data import DigitsData
from lightning_monocon.data.digits import DigitImages
from lightning_monocon.encoders import SmallCNN
from reliability import plans  # noqa: F401  # loaded here too

OUTPUT = "TORTURE_OUTPUT"

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
  callbacks: [{class_path: reliability.plans.Trace}]
"""


class NoisyCNN(nn.Module):
    """A small CNN with batch norm and dropout: what a random state in the wrong place would change."""

    def __init__(self, width: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(SmallCNN(1, (width, 2 * width)), nn.Dropout(dropout))
        self.out_features = 2 * width

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs)


class FewDigits(DigitsData):
    """Fewer digits than a batch holds, in a loader of its own."""

    def train_dataloader(self) -> DataLoader[Any]:
        few = [self.train[i] for i in range(40)]
        return DataLoader(few, batch_size=self.batch_size, drop_last=True)  # type: ignore[arg-type]


class DyingImages(DigitImages):
    """Images that are the end of whoever asks for one of the second epoch."""

    how = "raise"

    def __getitems__(self, items: Sequence[Any]) -> Any:
        if isinstance(items[0], tuple) and items[0][0] == 1:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError("no room for a batch")
        return super().__getitems__(items)


class DyingDigits(DigitsData):
    """Digits whose loader processes die in the second epoch."""

    def __init__(self, how: str = "raise", num_workers: int = 1) -> None:
        super().__init__(num_workers=num_workers)
        self.how = how

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.train = DyingImages(self.train.images, self.train.labels, self.seed, self.erasing)
        self.train.how = self.how


def _print_to(log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)


def command(
    words: list[str], log: str, environment: dict[str, str], user: int | None = None, room: str | None = None
) -> None:
    """Be the process of ``monocon WORDS``, with its output in a file.

    Args:
        words: The command's.
        log: The file.
        environment: Added to the process's.
        user: Whom to become.
        room: Where to mount a file system of this many bytes, as ``"folder:bytes"``; it and its files end with the
            process, so they are copied to ``"folder-kept"``.
    """
    os.environ.update(environment)
    os.setpgid(0, 0)  # so that a signal to its group meets nobody else
    multiprocessing.set_start_method("fork", force=True)  # as the command has it; of the server a child knows nothing
    _print_to(log)
    _close_output(os.environ.get(OUTPUT, ""))
    torch.set_num_threads(1)
    warnings.simplefilter("default")
    if user is not None:
        os.setuid(user)
    if bound := os.environ.get("TORTURE_FILE_SIZE"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(bound), int(bound)))
    if room is None:
        return main(words)
    folder, size = room.rsplit(":", 1)
    mount(folder, int(size))
    try:
        main(words)
    finally:
        shutil.copytree(folder, folder + "-kept")


def _close_output(which: str) -> None:
    """Let nobody read standard output (``pipe``) or standard error as well (``pipes``), or close it (``closed``)."""
    if which.startswith("pipe"):
        reader, writer = os.pipe()
        os.close(reader)
        for number in (1, 2) if which == "pipes" else (1,):
            os.dup2(writer, number)
    elif which == "closed":
        os.close(1)
        sys.stdout = None  # type: ignore[assignment]  # as Python does where it starts so


def mount(folder: str, size: int) -> None:
    """Mount a small file system over a folder, seen by this process alone.

    Raises:
        PermissionError: If this user may not.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, private = 0x20000, 0x40000 | 0x4000
    for done in (
        libc.unshare(new_namespace),
        libc.mount(b"none", b"/", None, private, None),
        libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, f"size={size}".encode()),
    ):
        if done != 0:
            raise PermissionError(ctypes.get_errno(), "no file system of its own for this process")


def save_for_ever(folder: str) -> None:
    """Save 50 MB under the same names again and again; say after each how far it is."""
    from lightning_monocon.callbacks import RollingCheckpoint
    from lightning_monocon.runs.checkpoints import DurableCheckpointIO

    torch.set_num_threads(1)
    plugin, rolling = DurableCheckpointIO(), RollingCheckpoint(folder)
    for step in range(10**6):
        rolling._make_room()
        weights = torch.full((50 * 2**18,), float(step))
        plugin.save_checkpoint({"state_dict": {"w": weights}, "monocon": {}, "step": step}, rolling.path)
        half = Path(folder) / "half"
        half.write_text(str(step))
        half.rename(Path(folder) / "finished")


def fit_on_two_ranks(folder: str, rank: int, port: int) -> None:
    """One of two gloo ranks: train whole, then resume from three of its checkpoints; save what each ended with."""
    import lightning.pytorch as L
    from lightning.pytorch.callbacks import ModelCheckpoint

    from lightning_monocon import MonoCon
    from lightning_monocon.callbacks import ExactResume
    from lightning_monocon.runs.checkpoints import DurableCheckpointIO

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    os.environ["LOCAL_RANK"] = str(rank)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    _print_to(str(Path(folder) / f"rank{rank}.log"))
    places = {"whole": None, "warm-up": "step=2.ckpt", "boundary": "step=8.ckpt", "joint": "step=11.ckpt"}
    for name, checkpoint in places.items():
        L.seed_everything(0 if name == "whole" else 7, workers=True, verbose=False)
        model = MonoCon(NoisyCNN(4), warmup_epochs=2, lr_warmup=1e-3, lr_encoder=3e-3, lr_head=3e-3)
        keep = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        trainer = L.Trainer(
            accelerator="cpu",
            devices=2,
            strategy="ddp",
            max_epochs=4,
            logger=False,
            enable_checkpointing=name == "whole",
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[DurableCheckpointIO()],
            callbacks=[ExactResume(seed=0), *([keep] if name == "whole" else [])],
        )
        path = None if checkpoint is None else str(Path(folder) / checkpoint)
        trainer.fit(model, datamodule=DigitsData(batch_size=128, seed=0), ckpt_path=path, weights_only=True)
        state = {"weights": dict(model.named_parameters()), "steps": trainer.global_step, "phase": model.phase}
        torch.save(state, Path(folder) / f"{name}-{rank}.pt")


def resume_with_other_settings(folder: str) -> None:
    """Train two epochs, then resume with one setting changed at a time; write what each attempt said."""
    import lightning.pytorch as L

    from lightning_monocon import MonoCon
    from lightning_monocon.callbacks import ExactResume, RollingCheckpoint
    from lightning_monocon.runs.checkpoints import DurableCheckpointIO

    _print_to(str(Path(folder) / "drift.log"))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")

    def attempt(checkpoint: str | None, **changed: Any) -> str:
        torch.manual_seed(0)
        model = {"warmup_epochs": 1, "lr_head": 1e-3, "temperature": 0.1, **changed.pop("model", {})}
        data = {"batch_size": 256, "seed": 0, **changed.pop("data", {})}
        encoder = NoisyCNN(4, changed.pop("dropout", 0.2))
        resume = ExactResume(changed.pop("seed", 0), allow_drift=changed.pop("allow_drift", False))
        trainer = L.Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[DurableCheckpointIO()],
            callbacks=[resume, RollingCheckpoint(folder)],
            **{"max_epochs": 3, "max_steps": 8 if checkpoint is None else -1, **changed},
        )
        try:
            trainer.fit(MonoCon(encoder, **model), datamodule=DigitsData(**data), ckpt_path=checkpoint)
        except ValueError as error:
            return str(error)
        return ""

    attempt(None)
    last = Path(folder) / "last.ckpt"
    content = torch.load(last, weights_only=True)
    stored = content["callbacks"]["ExactResume"]["settings"]
    stored["trainer.max_steps"] = -1  # what cut the run short is not what is tested
    content["callbacks"]["ExactResume"]["settings"] = {**stored, "world_size": 2}
    plugin = DurableCheckpointIO()
    plugin.save_checkpoint(content, Path(folder) / "two.ckpt")
    content["callbacks"]["ExactResume"]["settings"] = stored
    plugin.save_checkpoint(content, Path(folder) / "one.ckpt")
    one, two = str(Path(folder) / "one.ckpt"), str(Path(folder) / "two.ckpt")
    said = {
        "seed": attempt(one, seed=5),
        "model.schedule.lr_head": attempt(one, model={"lr_head": 0.01}),
        "model.schedule.warmup_epochs": attempt(one, model={"warmup_epochs": 2}),
        "data.batch_size": attempt(one, data={"batch_size": 128}),
        "trainer.max_epochs": attempt(one, max_epochs=9),
        "trainer.gradient_clip_algorithm": attempt(one, gradient_clip_algorithm="value"),
        "precision": attempt(one, precision="bf16-mixed"),
        "model.encoder.layers.1": attempt(one, dropout=0.9),
        "world_size": attempt(two),
        "": attempt(one),
        "allowed": attempt(one, seed=5, allow_drift=True),
    }
    (Path(folder) / "said.json").write_text(json.dumps(said))
