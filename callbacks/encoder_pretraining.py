# SPDX-License-Identifier: Apache-2.0
"""Pretrain the encoder of a recipe, as a published encoder would be."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import nn

from lightning_monocon.data.keyed_random import key, run_seed
from lightning_monocon.encoders import feature_dim
from lightning_monocon.training.batches import check_features


class EncoderPretraining(Callback):
    """Train ``pl_module.encoder`` as a classifier before the run's first epoch.

    The classifier is dropped afterwards. A resumed run skips this: its checkpoint holds the encoder. The weights are a
    function of the seed, so every arm of a comparison starts from the same encoder. Under DDP each rank trains on its
    own share, and the encoder of rank 0 is taken.

    Args:
        epochs: Epochs of cross-entropy.
        lr: Adam's learning rate.
        seed: The run's seed; ``None`` takes that of `seed_everything`, or 0 without one.

    Raises:
        ValueError: If the data module has no ``num_classes``.
    """

    def __init__(self, epochs: int = 5, lr: float = 1e-3, seed: int | None = None) -> None:
        if epochs < 1 or lr <= 0:
            raise ValueError(f"`epochs` and `lr` must be positive, got {epochs} and {lr}.")
        self.epochs, self.lr, self.seed = epochs, lr, seed
        self._resumed = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave the encoder of a checkpoint alone (Lightning calls this before `on_fit_start`)."""
        self._resumed = True

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pretrain, unless the run is resumed."""
        if self._resumed:
            return
        data = getattr(trainer, "datamodule", None)
        classes = getattr(data, "num_classes", None)
        if data is None or not isinstance(classes, int):
            raise ValueError(f"`datamodule` must have an integer `num_classes` to pretrain on, got {data!r}.")
        encoder: nn.Module = pl_module.encoder  # type: ignore[assignment]  # MonoCon's, or the user's own
        frozen = [parameter for parameter in encoder.parameters() if not parameter.requires_grad]
        with torch.random.fork_rng():
            torch.manual_seed(key(run_seed(self.seed), "pretraining"))
            self._train(encoder.requires_grad_(True).train(), data, classes, trainer)
        for parameter in frozen:  # for the warm-up
            parameter.requires_grad_(False)
        encoder.load_state_dict(trainer.strategy.broadcast(encoder.state_dict()))

    def _train(self, encoder: nn.Module, data: LightningDataModule, classes: int, trainer: Trainer) -> None:
        loader, model = data.train_dataloader(), trainer.lightning_module
        classifier = nn.Linear(feature_dim(encoder), classes).to(model.device).type(model.dtype)
        optimizer = torch.optim.Adam([*encoder.parameters(), *classifier.parameters()], lr=self.lr)
        for epoch in range(self.epochs):
            if hasattr(loader.sampler, "set_epoch"):
                loader.sampler.set_epoch(epoch)
            for batch in loader:
                # a data module may leave the last step of a batch, such as augmentation, to the device
                moved = data.on_after_batch_transfer(move_data_to_device(batch, model.device), 0)
                images, labels = trainer.precision_plugin.convert_input(moved)
                features = check_features(encoder(images), classifier.in_features)
                loss = F.cross_entropy(classifier(features), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimizer.step()
