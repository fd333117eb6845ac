# SPDX-License-Identifier: Apache-2.0
"""Restore the state that hooks have changed since the last step, and find changes that cannot be undone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from lightning_monocon.training.between_steps import callbacks_of

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
_DEFAULTS = (
    "lightning.pytorch.callbacks.callback",
    "lightning.pytorch.core.datamodule",
    "lightning.pytorch.core.hooks",
    "lightning.pytorch.core.module",
)
_LARGE = ("state_dict", "optimizer_states")
_OURS = __name__.split(".")[0]

Switches = dict[str, dict[str, bool]]
"""Which parameters require a gradient and which parts are in training mode, by name."""


class StepState:
    """Keep the buffers of a module and the options of its optimizers.

    Weights and moments are not copied: before the update of the optimizer only a hook can change them, and
    `same_weights` tells whether one has.
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
        """Restore the buffers and the options of the optimizers."""
        with torch.no_grad():
            for name, buffer in pl_module.named_buffers():
                if name in self._buffers:
                    buffer.copy_(self._buffers[name])
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if len(groups) == len(self._options):
            for group, options in zip(groups, self._options, strict=True):
                group.update({name: value for name, value in options.items() if name != "params"})


def fingerprint(pl_module: LightningModule) -> list[Tensor]:
    """Return the norm of every weight, a cheap test for weights that were replaced, by averaged ones for example."""
    weights = [parameter.detach() for parameter in pl_module.parameters()]
    if not weights:  # cached vectors without a head
        return []
    return list(torch._foreach_norm(weights))  # pyright: ignore[reportPrivateImportUsage]


def switches(pl_module: LightningModule) -> Switches:
    """Return which parameters require gradients and which parts are in training mode; no `state_dict` holds that."""
    return {
        "requires_grad": {name: parameter.requires_grad for name, parameter in pl_module.named_parameters()},
        "training": {name: part.training for name, part in pl_module.named_modules()},
    }


def set_switches(pl_module: LightningModule, to: Switches) -> None:
    """Restore `switches`; names that only one side has are ignored."""
    for name, parameter in pl_module.named_parameters():
        parameter.requires_grad_(to.get("requires_grad", {}).get(name, parameter.requires_grad))
    for name, part in pl_module.named_modules():
        part.training = to.get("training", {}).get(name, part.training)


def stateful(callbacks: Iterable[Callback], hooks: Iterable[str]) -> list[Callback]:
    """Return the callbacks from outside this package that run in one of these hooks and keep a state.

    A `Checkpoint` is not among them: its state names the files that it has written, which stays true.
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
    """Return copies of the states of callbacks, by key, without those that they add to a checkpoint themselves."""
    return {
        callback.state_key: copy.deepcopy(callback.state_dict())
        for callback in callbacks
        if not is_foreign(callback, "on_save_checkpoint")
    }


def is_foreign(owner: object, method: str) -> bool:
    """Return whether a callback or module overrides a method outside this package."""
    return overrides(owner, method) and _defined_in(owner, method).split(".")[0] != _OURS


def _defined_in(owner: object, method: str) -> str:
    return next(kind.__module__ for kind in type(owner).__mro__ if method in vars(kind))


def kept_checkpoint(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a checkpoint for a second load; weights and moments are not copied."""
    return {name: value if name in _LARGE else copy.deepcopy(value) for name, value in checkpoint.items()}


@contextmanager
def keeping_state(
    trainer: Trainer, pl_module: LightningModule, hook: str, checkpoint: dict[str, Any]
) -> Iterator[None]:
    """Run a hook for what it sets outside the checkpoint, and restore all weights and states afterwards.

    Objects add their state to the ``checkpoint`` of the resume by ``on_save_checkpoint``.
    """
    tensors = {name: tensor.detach().clone() for name, tensor in _named_tensors(pl_module)}
    extra = [
        (module, copy.deepcopy(module.get_extra_state()))
        for module in pl_module.modules()
        if type(module).get_extra_state is not nn.Module.get_extra_state
    ]
    optimizers = [(optimizer, copy.deepcopy(optimizer.state_dict())) for optimizer in trainer.optimizers]
    schedulers = [(one.scheduler, copy.deepcopy(one.scheduler.state_dict())) for one in trainer.lr_scheduler_configs]
    data = [(one, copy.deepcopy(one.state_dict())) for one in _stateful_data(trainer)]
    states = [(one, copy.deepcopy(one.state_dict())) for one in stateful(callbacks_of(trainer), [hook])]

    yield

    _load_again(trainer, pl_module, hook, checkpoint)
    with torch.no_grad():
        for name, tensor in _named_tensors(pl_module):
            if name in tensors:
                tensor.copy_(tensors[name])
    for module, state in extra:
        module.set_extra_state(state)
    unchanged = [(one, state) for one, state in optimizers if len(one.param_groups) == len(state["param_groups"])]
    changed: list[tuple[Any, dict[str, Any]]] = [*data, *unchanged, *schedulers, *states]
    for owner, state in changed:
        owner.load_state_dict(state)


def _load_again(trainer: Trainer, pl_module: LightningModule, hook: str, checkpoint: dict[str, Any]) -> None:
    """Let objects that add their own state to checkpoints, and may have changed it in a hook, load it again."""
    callbacks = [one for one in stateful(callbacks_of(trainer), [hook]) if is_foreign(one, "on_load_checkpoint")]
    loads: list[tuple[object, Callable[[dict[str, Any]], None]]]
    loads = [(one, partial(one.on_load_checkpoint, trainer, pl_module)) for one in callbacks]
    if is_foreign(pl_module, "on_load_checkpoint") and is_foreign(pl_module, "on_save_checkpoint"):
        loads = [(pl_module, pl_module.on_load_checkpoint), *loads]

    parts = [(module, _parts(module)) for module in pl_module.modules()] if loads else []
    for owner, load in loads:
        try:
            load(checkpoint)
        except Exception as error:  # a second call may raise anything
            rank_zero_warn(
                f"`{type(owner).__name__}.on_load_checkpoint` must be able to run twice for an exact resume within an "
                f"epoch, the second time after `{hook}`; it raised {type(error).__name__}: {error}. What the hook has "
                "changed of its state stays changed; keep that state in a buffer or in `state_dict`."
            )

    for module, by_kind in parts:  # a part that is built at the second load is in no optimizer
        for kind, found in by_kind.items():
            vars(module)[kind].update(found)


def _stateful_data(trainer: Trainer) -> list[LightningDataModule]:
    """Return the data module if it keeps a state; those of this package have none that a hook changes."""
    data: LightningDataModule | None = getattr(trainer, "datamodule", None)
    if data is None or not is_foreign(data, "state_dict") or not is_foreign(data, "load_state_dict"):
        return []
    return [data]


def _parts(module: nn.Module) -> dict[str, dict[str, Any]]:
    return {kind: dict(vars(module)[kind]) for kind in ("_parameters", "_buffers", "_modules")}


def _named_tensors(pl_module: LightningModule) -> Iterator[tuple[str, Tensor]]:
    yield from pl_module.named_parameters()
    yield from pl_module.named_buffers()


def _versions(pl_module: LightningModule) -> int:
    return sum(parameter._version for parameter in pl_module.parameters())
