# SPDX-License-Identifier: Apache-2.0
"""Embed a data set with a trained module, without changing its state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from lightning_monocon.inference.random_states import kept_random_states
from lightning_monocon.inference.rank_rows import Share, check_apart, over_ranks, shares

GALLERY_AND_QUERY = 2
_NUMBERS = "the place of each row in the data"


def embed(
    module: LightningModule, loader: Iterable[object], limit: int | None = None, *, each_once: bool = True
) -> dict[str, Tensor]:
    """Return the output of `validation_step` over a whole loader and over all ranks, on the CPU.

    The module is in eval mode meanwhile; its modes and the random states are restored.

    Args:
        module: Module whose `validation_step` returns a mapping of tensors ``(B, ...)``.
        loader: Batches for `validation_step`; each rank has its own share.
        limit: Most batches that a rank takes; None for all.
        each_once: Whether to leave out the rows that another rank has too.

    Returns:
        One tensor ``(N, ...)`` per key; from several ranks in the order of the data set.

    Raises:
        RuntimeError: If another rank has failed.
        ValueError: If the loader is empty on all ranks, or it is unknown which rows several ranks share.
    """
    share = shares([loader])[0] if each_once else Share()
    parts: list[dict[str, Tensor]] = []
    failure: Exception | None = None
    try:
        with untouched(module), torch.inference_mode():
            parts += _embedded(module, islice(loader, limit), share)
    except Exception as error:  # the other ranks wait for this one and must learn of its failure
        failure = error

    every = over_ranks(None if failure else parts)
    if failure is not None:
        raise failure
    if None in every:
        raise RuntimeError(f"Rank {every.index(None)} has failed to embed its share; see its own error message.")
    check_apart([share])
    rows = concatenate([part for one in every for part in one or ()])
    order = rows.pop(_NUMBERS).argsort(stable=True)
    return {name: value[order] for name, value in rows.items()} if len(every) > 1 else rows


def _embedded(module: LightningModule, batches: Iterable[object], share: Share) -> Iterator[dict[str, Tensor]]:
    """Yield the rows of each batch that are not counted elsewhere, and their numbers, on the CPU."""
    trainer = module._trainer  # one in low precision converts its batches, and its model takes no others
    for index, batch in enumerate(batches):
        moved = module.transfer_batch_to_device(batch, module.device, 0)
        converted = moved if trainer is None else trainer.precision_plugin.convert_input(moved)
        part = cast("Mapping[str, Tensor]", module.validation_step(converted, index))
        share.look_at(batch, index)
        size = len(next(iter(part.values())))
        fresh = share.fresh(index, size)
        rows = {name: value.detach().cpu() for name, value in part.items()}
        rows[_NUMBERS] = share.numbers(index, size)
        yield rows if fresh is None else {name: value[fresh] for name, value in rows.items()}


def has_classes(trainer: Trainer) -> bool:
    """Return whether the labels of the trainer's data are classes; only a data module can declare that they are not."""
    return bool(getattr(getattr(trainer, "datamodule", None), "has_classes", True))


def concatenate(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the outputs of a module's steps, key by key, on the CPU; raise ValueError if there are none."""
    if not parts:
        raise ValueError("`parts` must hold at least one batch, got none: the loader is empty.")
    return {name: torch.cat([part[name].detach().cpu() for part in parts]).clone() for name in parts[0]}


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put the module in eval mode; afterwards restore the mode of every submodule and all random states.

    These are the states of Python, NumPy, torch and the devices of the module.
    """
    modes = {part: part.training for part in module.modules()}
    with kept_random_states(parameter.device for parameter in module.parameters()):
        module.eval()
        try:
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode
