# SPDX-License-Identifier: Apache-2.0
"""Embed a data set with a trained module, without leaving a trace in it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

GALLERY_AND_QUERY = 2


def embed(module: LightningModule, loader: Iterable[object]) -> dict[str, Tensor]:
    """Return what `validation_step` returns, over a whole loader and over all ranks, on the CPU.

    The module is in eval mode meanwhile; modes and random state are as before afterwards.

    Args:
        module: Its `validation_step` returns a mapping of tensors ``(B, ...)``.
        loader: Batches for `validation_step`; each rank its own share.

    Returns:
        One tensor ``(N, ...)`` per key.
    """
    with untouched(module), torch.inference_mode():
        parts = [
            cast("Mapping[str, Tensor]", module.validation_step(_moved(module, batch), i))
            for i, batch in enumerate(loader)
        ]
    return _over_ranks(concatenate(parts))


def has_classes(trainer: Trainer) -> bool:
    """Return whether labels of the trainer's data are classes, as they are unless its data module says otherwise."""
    return bool(getattr(getattr(trainer, "datamodule", None), "has_classes", True))


def concatenate(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the outputs of a module's steps, key by key, on the CPU.

    Raises:
        ValueError: If there are none.
    """
    if not parts:
        raise ValueError("`parts` must hold at least one batch, got none: the loader is empty.")
    return {name: torch.cat([part[name].detach().cpu() for part in parts]).clone() for name in parts[0]}


def _moved(module: LightningModule, batch: object) -> object:
    return module.transfer_batch_to_device(batch, module.device, 0)


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put the module in eval mode; afterwards restore every submodule's mode and all random states.

    Those are the states of Python, NumPy, torch and the devices that the module lies on.
    """
    modes = {part: part.training for part in module.modules()}
    python, numpy = random.getstate(), np.random.get_state()
    places = {parameter.device for parameter in module.parameters() if parameter.device.type != "cpu"}
    with ExitStack() as stack:
        for place in places or {torch.device("cpu")}:
            devices = [] if place.type == "cpu" else [place]
            stack.enter_context(torch.random.fork_rng(devices, device_type="cuda" if not devices else place.type))
        module.eval()
        try:
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode
            random.setstate(python)
            np.random.set_state(numpy)


def _over_ranks(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    shares: list[dict[str, Tensor]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(shares, rows)
    return {name: torch.cat([share[name] for share in shares]) for name in rows}
