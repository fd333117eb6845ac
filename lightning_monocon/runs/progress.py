# SPDX-License-Identifier: Apache-2.0
"""Set Lightning's counters and metrics to the position of a run.

On resume, Lightning 2.6.6 guesses from four counters for the epoch and four for the batch at which hook a checkpoint
was written. After a checkpoint from the last batch of an epoch, the next epoch is never counted as begun, and the
*second* resume makes too many steps. The position of a run is one pair (epoch, batch); this module rewrites every
counter to its value between two steps at that position, before Lightning reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer import call
from torch import Tensor

from lightning_monocon.training.between_steps import Position
from lightning_monocon.training.step_state import keeping_state

if TYPE_CHECKING:
    from lightning.pytorch.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric

Counters = dict[str, Any]


def repair(
    fit_loop: Counters, position: Position, batches: int | None = None, validated: Position | None = None
) -> None:
    """Rewrite the counters of a stored fit loop in place.

    Args:
        fit_loop: ``checkpoint["loops"]["fit_loop"]``.
        position: Position of the checkpoint.
        batches: Number of batches before the position, over all epochs; ``None`` if the checkpoint does not hold it.
        validated: Position of a validation that was under way, with which Lightning then resumes.
    """
    epoch, batch = validated or position
    begun = epoch + (batch > 0)
    _set(fit_loop["epoch_progress"], ready=begun, started=begun, processed=epoch, completed=epoch)
    steps = fit_loop["epoch_loop.batch_progress"]
    _set(steps, ready=batch, started=batch, processed=batch, completed=batch)
    if batches is not None:
        steps["total"].update(dict.fromkeys(("ready", "started", "processed", "completed"), batches))
    steps["is_last_batch"] = epoch != position.epoch

    if validated is not None:
        half = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        validation = fit_loop["epoch_loop.val_loop.batch_progress"]
        validation["total"].update(half)
        validation["current"].update(half)  # otherwise its finished batches would be left out of the next
        validation["is_last_batch"] = False

    optimizer = fit_loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]
    if optimizer["completed"]:  # 0 under manual optimisation, where the module counts
        # Lightning counts a step for its loggers when its validation is done
        logged = optimizer["completed"] - (validated is not None)
        fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] = logged


def between_epochs(trainer: Trainer) -> None:
    """Begin an epoch as an uninterrupted run does.

    A run with `max_steps` always resumes as if in the middle of an epoch; at the first batch it would treat the
    validation of the last epoch as pending.
    """
    loop = trainer.fit_loop.epoch_loop
    loop._restarting = loop.val_loop._restarting = False


def within_epoch(trainer: Trainer, pending: bool) -> None:
    """Train the rest of an epoch as an uninterrupted run does.

    While its loops are marked as restarting, Lightning treats the validation before the next batch as pending, counts
    a step for it, and leaves out schedulers that follow a metric at the end of the epoch.

    Args:
        trainer: The trainer, after its epoch was resumed and its counters were read.
        pending: Whether a validation is still to be run before the next batch.
    """
    trainer.fit_loop._restarting = False
    if not pending:
        between_epochs(trainer)


def skip_sanity_check(trainer: Trainer) -> None:
    """Skip the sanity check of the validation, which may change the state of the checkpoint.

    Lightning skips it only on a resume within an epoch.
    """
    trainer.num_sanity_val_steps = 0


def fetch_again(trainer: Trainer) -> None:
    """Let the loop create a new iterator of its loader, as at the start of every epoch but the first of a fit."""
    trainer.fit_loop._resuming_from_checkpoint = False


def train_loaders(trainer: Trainer) -> list[Any]:
    """Return the loaders that the fit trains on."""
    combined = trainer.fit_loop._combined_loader
    return [] if combined is None else list(combined.flattened)


def forget_loader(trainer: Trainer) -> None:
    """Let the fit ask for its train loader again, where `estimated_stepping_batches` has already asked for one."""
    loop = trainer.fit_loop
    if loop._data_fetcher is not None:
        loop._data_fetcher.teardown()
    loop._combined_loader = loop._data_fetcher = None


def start_epoch_again(trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Run ``on_train_epoch_start`` for an epoch that is resumed within, and keep every state of the checkpoint.

    Lightning skips the hook, and with it everything that the hook sets outside the checkpoint: a number of batches to
    accumulate, a part of the model in eval mode, an attribute that follows the epoch. State that the hook changes is
    already changed in the checkpoint.
    """
    with keeping_state(trainer, pl_module, "on_train_epoch_start", checkpoint):
        call._call_callback_hooks(trainer, "on_train_epoch_start")
        call._call_lightning_module_hook(trainer, "on_train_epoch_start")


def known_metrics(trainer: Trainer) -> dict[str, Tensor]:
    """Return what callbacks and schedulers may monitor: the latest values, without computing any."""
    return {name: value.detach().cpu() for name, value in trainer._logger_connector._callback_metrics.items()}


def know_metrics(trainer: Trainer, metrics: dict[str, Tensor]) -> None:
    """Set the latest values of the trainer to those of an earlier process."""
    device = trainer.strategy.root_device
    trainer._logger_connector._callback_metrics.update({name: value.to(device) for name, value in metrics.items()})


def batches(trainer: Trainer) -> int:
    """Return the number of batches over all epochs so far."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready


def running_values(trainer: Trainer) -> dict[str, tuple[Tensor, ...]]:
    """Return what this epoch has logged so far, by key: sum and weight of a mean, or a maximum, minimum or sum.

    Lightning replaces these tensors and never changes them in place, so they need no copy.
    """
    return {key: _parts(result) for key, result in _accumulated(trainer).items() if result.is_tensor}


def add_to_values(trainer: Trainer, earlier: dict[str, list[float | int]]) -> None:
    """Add the values of an interrupted epoch to those since its resume, so that metrics cover the whole epoch."""
    results = _accumulated(trainer)
    for key in earlier.keys() & results.keys():
        result, (value, *weight) = results[key], earlier[key]
        if not result.is_tensor or len(_parts(result)) != len(earlier[key]):
            continue  # it is logged in another way than before
        if result.meta.is_max_reduction or result.meta.is_min_reduction:
            result.value = result.meta.reduce_fx(result.value, torch.full_like(result.value, value))
        else:
            result.value = result.value + value
        if weight:
            result.cumulated_batch_size = result.cumulated_batch_size + weight[0]


def forgetful_metrics(trainer: Trainer) -> list[str]:
    """Return the names of the logged metrics of this epoch whose state is not in a checkpoint."""
    return sorted(
        result.meta.name
        for result in _accumulated(trainer).values()
        if not result.is_tensor and not all(result.value._persistent.values())
    )


def _parts(result: _ResultMetric) -> tuple[Tensor, ...]:
    value = cast("Tensor", result.value)
    return (value, result.cumulated_batch_size) if result.meta.is_mean_reduction else (value,)


def _accumulated(trainer: Trainer) -> dict[str, Any]:
    """Return the results that the train loop accumulates over an epoch; tensors only if their reduction is known."""
    return {
        key: result
        for key, result in trainer.fit_loop.epoch_loop._results.items()
        if result.meta.on_epoch and (not result.is_tensor or _is_reduced(result.meta))
    }


def _is_reduced(meta: _Metadata) -> bool:
    return bool(meta.is_mean_reduction or meta.is_sum_reduction or meta.is_max_reduction or meta.is_min_reduction)


def _set(progress: Counters, **values: int) -> None:
    """Set the counters of the current loop, and change those over all loops by the same difference."""
    for name, value in values.items():
        progress["total"][name] += value - progress["current"][name]
        progress["current"][name] = value
