# SPDX-License-Identifier: Apache-2.0
"""Train an encoder of sequences and a linear head to tell the right token of each position."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from lightning_monocon.training.logged_means import log_epoch_mean
from lightning_monocon.training.schedule import Schedule, TwoPhaseModule


class TokenModel(TwoPhaseModule):
    """Train logits ``(B, T, V)`` by the cross-entropy with labels ``(B, T)``, where -100 stands for no label.

    Batches are ``(inputs, labels)``; AdamW runs at a constant rate within an epoch.

    Args:
        encoder: Maps inputs to features ``(B, T, D)``, with ``out_features`` D.
        vocabulary: Number of tokens V.
        lr: Learning rate.
        weight_decay: AdamW's decay.
    """

    has_embeddings = False
    """Nothing that its steps return can be judged as embeddings."""

    def __init__(self, encoder: nn.Module, vocabulary: int, *, lr: float = 1e-3, weight_decay: float = 0.01) -> None:
        super().__init__(Schedule(lr_encoder=lr, lr_head=lr, warmup_epochs=0, weight_decay=weight_decay).checked())
        self.encoder = encoder
        self.head = nn.Linear(cast(int, encoder.out_features), vocabulary)
        nn.init.normal_(self.head.weight, std=0.02)
        self.start_phase()

    def forward(self, inputs: object) -> Tensor:
        """Return the logits ``(B, T, V)`` of a batch of inputs."""
        return cast(Tensor, self.head(self.encoder(inputs)))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy of one batch."""
        return self._loss(batch, "train/loss")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the mean cross-entropy of one batch."""
        self._loss(batch, "val/loss")

    def _loss(self, batch: tuple[Tensor, Tensor], name: str) -> Tensor:
        inputs, labels = batch
        loss = nn.functional.cross_entropy(self(inputs).flatten(0, 1), labels.flatten())
        log_epoch_mean(self, name, loss, len(labels))
        return loss
