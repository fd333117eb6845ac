# SPDX-License-Identifier: Apache-2.0
"""Make an encoder faster without changing what it computes."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn


class EncoderAcceleration(Callback):
    """Put ``pl_module.encoder`` into channels-last layout and compile it, before a run's first batch.

    Parameters, their names and the content of a checkpoint stay the same. The first batches of each shape and mode are
    slow, since they compile. Choose the precision by the trainer's ``precision``.

    Args:
        channels_last: Whether convolutions get channels-last weights, and with them channels-last features: the layout
            that the matrix units of a GPU need.
        compile: Whether to compile with `torch.compile`.
        backend: Backend of the compiler.

    Raises:
        ValueError: If the module has no encoder.
    """

    def __init__(self, channels_last: bool = True, compile: bool = True, backend: str = "inductor") -> None:
        self.channels_last, self.compile, self.backend = channels_last, compile, backend

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Change layout and compile; once, for any number of stages."""
        encoder = getattr(pl_module, "encoder", None)
        if not isinstance(encoder, nn.Module):
            raise ValueError(f"`pl_module` must have a module `encoder`; {type(pl_module).__name__} has {encoder!r}.")
        if self.channels_last:
            encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types no module's `to` with a format alone
        if self.compile and encoder._compiled_call_impl is None:
            encoder.compile(backend=self.backend)  # in place: `torch.compile` would wrap it and rename its parameters
