# SPDX-License-Identifier: Apache-2.0
"""Where a run is, and Lightning's counters set to it.

Lightning 2.6.6 keeps four counters an epoch and four a batch and guesses from them, on resume, at which hook a
checkpoint was written. After a checkpoint from the last batch of an epoch the next epoch is never counted as begun, so
that the *second* resume makes too many steps. A run's position is one pair (epoch, batch); here every counter is
rewritten to what it is between two steps at that position, before Lightning reads it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lightning.pytorch import Trainer
from torch import Tensor

Counters = dict[str, Any]


class Position(NamedTuple):
    """The next step."""

    epoch: int
    batch: int


def repair(fit_loop: Counters, position: Position, validated: Position | None = None) -> None:
    """Rewrite the counters of a stored fit loop in place.

    Args:
        fit_loop: ``checkpoint["loops"]["fit_loop"]``.
        position: Of the checkpoint.
        validated: Where a validation was under way: epoch, and batches before it. Lightning then resumes with it.
    """
    epoch, batch = validated or position
    begun = epoch + (batch > 0)
    _set(fit_loop["epoch_progress"], ready=begun, started=begun, processed=epoch, completed=epoch)
    steps = fit_loop["epoch_loop.batch_progress"]
    _set(steps, ready=batch, started=batch, processed=batch, completed=batch)
    steps["is_last_batch"] = epoch != position.epoch
    if validated is not None:
        half = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        validation = fit_loop["epoch_loop.val_loop.batch_progress"]
        validation["total"].update(half)
        validation["current"].update(half)  # or the batches that it had made would be left out of the next
        validation["is_last_batch"] = False
    optimizer = fit_loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]
    if optimizer["completed"]:  # 0 under manual optimisation, where the module counts
        # Lightning counts a step for its loggers when its validation is done
        logged = optimizer["completed"] - (validated is not None)
        fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] = logged


def between_epochs(trainer: Trainer) -> None:
    """Begin an epoch as an uninterrupted run does.

    A run with `max_steps` always resumes as if in the middle of an epoch; at the first batch it would take the last
    epoch's validation for a pending one.
    """
    loop = trainer.fit_loop.epoch_loop
    loop._restarting = loop.val_loop._restarting = False


def running_means(trainer: Trainer) -> dict[str, tuple[Tensor, Tensor]]:
    """Return sum and weight of what this epoch has logged by mean so far, by key.

    Lightning replaces these tensors and never changes them, so they stay what they are now.
    """
    return {key: (metric.value, metric.cumulated_batch_size) for key, metric in _means(trainer).items()}


def add_to_means(trainer: Trainer, earlier: dict[str, list[float | int]]) -> None:
    """Add what an interrupted epoch had logged to what its resumption has, so that its means are whole."""
    for key, metric in _means(trainer).items():
        if key in earlier:
            total, weight = earlier[key]
            metric.value = metric.value + total
            metric.cumulated_batch_size = metric.cumulated_batch_size + weight


def _means(trainer: Trainer) -> dict[str, Any]:
    """The results of the train loop that are reduced by mean, each with its sum and its weight."""
    return {
        key: result
        for key, result in trainer.fit_loop.epoch_loop._results.items()
        if isinstance(getattr(result, "value", None), Tensor) and hasattr(result, "cumulated_batch_size")
    }


def _set(progress: Counters, **values: int) -> None:
    """Set the counters of the present loop, and those over all loops by the same difference."""
    for name, value in values.items():
        progress["total"][name] += value - progress["current"][name]
        progress["current"][name] = value
