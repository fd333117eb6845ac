# SPDX-License-Identifier: Apache-2.0
"""Put back what hooks have moved since the last step, and tell who may have moved what cannot be put back."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from lightning_monocon.between_steps import callbacks_of

BEFORE_THE_UPDATE = (
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
IN_A_VALIDATION = (
    "on_validation_start",
    "on_validation_epoch_start",
    "on_validation_batch_start",
    "on_validation_batch_end",
    "on_validation_epoch_end",
    "on_validation_end",
)
_DEFAULTS = ("lightning.pytorch.callbacks.callback", "lightning.pytorch.core.hooks", "lightning.pytorch.core.module")
_OURS = __name__.split(".")[0]


class StepState:
    """The buffers of a module and the options of its optimizers, as they are now.

    Weights and moments are not copied: before the optimizer's update nothing but a hook moves them, and `same_weights`
    tells whether one has.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._buffers = {name: buffer.clone() for name, buffer in pl_module.named_buffers()}
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._options = [
            {name: value.clone() if isinstance(value, Tensor) else value for name, value in group.items()}
            for group in groups
        ]
        self._versions = _versions(pl_module)

    def same_weights(self, pl_module: LightningModule) -> bool:
        """Return whether no weight has been written to since."""
        return _versions(pl_module) == self._versions

    def put_back(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give buffers and options of the optimizers their values back."""
        with torch.no_grad():
            for name, buffer in pl_module.named_buffers():
                if name in self._buffers:
                    buffer.copy_(self._buffers[name])
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if len(groups) == len(self._options):
            for group, options in zip(groups, self._options, strict=True):
                group.update({name: value for name, value in options.items() if name != "params"})


def fingerprint(pl_module: LightningModule) -> list[Tensor]:
    """Return the norm of every weight: cheap, and not the same once averaged weights have been put in their place."""
    return list(torch._foreach_norm([parameter.detach() for parameter in pl_module.parameters()]))


def stateful(callbacks: Iterable[Callback], hooks: Iterable[str]) -> list[Callback]:
    """Return the callbacks from outside this package that run in one of these hooks and keep a state.

    A `Checkpoint` is not among them: its state tells which files it has written, and they are written.
    """
    hooks = tuple(hooks)
    return [
        callback
        for callback in callbacks
        if not isinstance(callback, Checkpoint)
        and any(is_foreign(callback, hook) for hook in hooks)
        and (is_foreign(callback, "state_dict") or is_foreign(callback, "on_save_checkpoint"))
    ]


def overrides(owner: object, method: str) -> bool:
    """Return whether a callback or module has a method that is not Lightning's empty default."""
    return _defined_in(owner, method) not in _DEFAULTS


def copied_states(callbacks: Iterable[Callback]) -> dict[str, Any]:
    """Return copies of the states that callbacks return, by key; not of those that they add to a checkpoint."""
    return {
        callback.state_key: copy.deepcopy(callback.state_dict())
        for callback in callbacks
        if not is_foreign(callback, "on_save_checkpoint")
    }


def is_foreign(owner: object, method: str) -> bool:
    """Return whether a callback or module overrides a method, and not in this package."""
    return overrides(owner, method) and _defined_in(owner, method).split(".")[0] != _OURS


def _defined_in(owner: object, method: str) -> str:
    return next(kind.__module__ for kind in type(owner).__mro__ if method in vars(kind))


@contextmanager
def keeping_state(trainer: Trainer, pl_module: LightningModule, hook: str) -> Iterator[None]:
    """Run a hook for what it sets outside the checkpoint; weights and states are afterwards as they were before."""
    tensors = {name: tensor.detach().clone() for name, tensor in _named_tensors(pl_module)}
    optimizers = [(optimizer, copy.deepcopy(optimizer.state_dict())) for optimizer in trainer.optimizers]
    schedulers = [(one.scheduler, copy.deepcopy(one.scheduler.state_dict())) for one in trainer.lr_scheduler_configs]
    states = [(one, copy.deepcopy(one.state_dict())) for one in stateful(callbacks_of(trainer), [hook])]

    yield

    with torch.no_grad():
        for name, tensor in _named_tensors(pl_module):
            if name in tensors:
                tensor.copy_(tensors[name])
    unchanged = [(one, state) for one, state in optimizers if len(one.param_groups) == len(state["param_groups"])]
    changed: list[tuple[Any, dict[str, Any]]] = [*unchanged, *schedulers, *states]
    for owner, state in changed:
        owner.load_state_dict(state)


def _named_tensors(pl_module: LightningModule) -> Iterator[tuple[str, Tensor]]:
    yield from pl_module.named_parameters()
    yield from pl_module.named_buffers()


def _versions(pl_module: LightningModule) -> int:
    return sum(parameter._version for parameter in pl_module.parameters())
