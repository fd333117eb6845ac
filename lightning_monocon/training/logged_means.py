# SPDX-License-Identifier: Apache-2.0
"""Log the mean of an epoch at a fraction of what `LightningModule.log` costs a step.

At each call Lightning describes the metric again, compares it with what it knows of it, and moves a copy of that
description to the device: a fifth of a small step. From the second batch on none of it can differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

if TYPE_CHECKING:
    from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultMetric


def log_epoch_mean(module: LightningModule, name: str, value: Tensor, size: int) -> None:
    """Log a value of a batch as ``module.log(name, value, on_step=False, on_epoch=True, batch_size=size)`` does.

    The numbers are the same bit for bit. The first batch of each fit, what is not 0-d, and a module with a `log` of its
    own go through `log`.

    Args:
        module: The module, within one of its steps.
        name: Name of the metric; always logged by this function.
        value: 0-d.
        size: Number of samples of the batch, the weight of the value.
    """
    trainer, hook = getattr(module, "_trainer", None), str(getattr(module, "_current_fx_name", ""))
    known = None if trainer is None else _known(trainer, hook, name, value.device)
    is_own = getattr(module.log, "__func__", None) is not LightningModule.log
    if trainer is None or known is None or value.ndim or is_own or torch.compiler.is_compiling():
        module.log(name, value, on_step=False, on_epoch=True, batch_size=size)
        return
    known.update(value.detach(), size)
    known.has_reset = False
    trainer._logger_connector._current_fx = hook


def _known(trainer: Trainer, hook: str, name: str, device: torch.device) -> _ResultMetric | None:
    """Return what was logged by this name in the hook since the epoch began; None if nothing, or on another device."""
    should_reset = getattr(getattr(trainer, "_logger_connector", None), "should_reset_tensors", None)
    results: Any = getattr(trainer, "_results", None) or {}
    if should_reset is None or should_reset(hook):
        return None  # a Lightning that keeps its results elsewhere logs them itself
    loader = getattr(results, "dataloader_idx", None)
    found: Any = results.get(f"{hook}.{name}" if loader is None else f"{hook}.{name}.{loader}")
    return None if found is None or found.value.device != device else found
