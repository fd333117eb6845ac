# SPDX-License-Identifier: Apache-2.0
"""Compare a run with the checkpoint that it resumes from, setting by setting."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TypeGuard

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BasePredictionWriter,
    Checkpoint,
    DeviceStatsMonitor,
    LearningRateMonitor,
    ModelSummary,
    ProgressBar,
    Timer,
)

from lightning_monocon.runs.arguments import (
    FORMAT,
    WRITER,
    Plain,
    Settings,
    constructor_arguments,
    described,
    module_arguments,
    other_contents,
)

__all__ = ["Plain", "Settings", "differences", "precision_settings", "run_settings", "writer"]

_LISTED = 8
_OF_THE_TRAINER = (
    "max_epochs",
    "max_steps",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "limit_train_batches",
    "overfit_batches",
    # the figures of a validation decide on a plateau schedule, an early stop and the best checkpoint
    "limit_val_batches",
    "check_val_every_n_epoch",
    "val_check_interval",
    "min_epochs",
    "reload_dataloaders_every_n_epochs",
)
_WATCHES = (BasePredictionWriter, Checkpoint, DeviceStatsMonitor, LearningRateMonitor, ModelSummary, ProgressBar, Timer)
# how and from where the data is fetched: neither changes a batch
_NOT_OF_THE_DATA = {
    "trainer",
    "num_workers",
    "pin_memory",
    "persistent_workers",
    "prefetch_factor",
    "root",
    "folder",
    "cache",
    "download",
    "prepare_data_per_node",
    "allow_zero_length_dataloader_with_multiple_devices",
}


def run_settings(trainer: Trainer, pl_module: LightningModule, seed: int) -> Settings:
    """Return every setting that decides where a run ends, as plain values by dotted name.

    These are the seed, the world size, the precision, the limits of the trainer, the ``description`` of the module
    (`lightning_monocon.MonoCon` has one) or its hyper-parameters, the plain arguments of its parts, such as a dropout
    rate in the encoder or a smoothing in the loss, those of the data module and its transforms, and those of callbacks
    that may change training.

    Args:
        trainer: The trainer, with its data module, if any.
        pl_module: The module.
        seed: Seed of the run.
    """
    found: Settings = {**writer(), "seed": seed, "world_size": trainer.world_size}
    found |= precision_settings(trainer)
    found |= {f"trainer.{name}": value for name in _OF_THE_TRAINER if _is_plain(value := getattr(trainer, name, None))}
    found["trainer.use_distributed_sampler"] = trainer._accelerator_connector.use_distributed_sampler
    algorithm = trainer.gradient_clip_algorithm
    found["trainer.gradient_clip_algorithm"] = "norm" if algorithm is None else str(algorithm.value)
    found |= _flat("model", getattr(pl_module, "description", None) or dict(pl_module.hparams))
    found |= module_arguments(pl_module, "model", known=list(found))
    found |= _of_the_callbacks(trainer.callbacks)  # type: ignore[attr-defined]  # Lightning sets it elsewhere
    data = getattr(trainer, "datamodule", None)
    if data is not None:
        found["data"] = type(data).__qualname__
        found |= _of_the_data(data)
    return found


def writer() -> Settings:
    """Return the settings that `differences` looks at first: the versions of their layout and of this package."""
    return dict(zip(WRITER, (FORMAT, version("lightning-monocon")), strict=True))


def precision_settings(trainer: Trainer) -> Settings:
    """Return the precision of the model and of float32 matrix products."""
    return {"precision": str(trainer.precision), "float32_matmul_precision": torch.get_float32_matmul_precision()}


def _of_the_callbacks(callbacks: list[Callback]) -> Settings:
    """Return the arguments of callbacks that may change training; those that only watch or save may differ."""
    found: Settings = {}
    for callback in callbacks:
        kind = type(callback)
        if kind.__module__.startswith("lightning_monocon.") or isinstance(callback, _WATCHES):
            continue
        first = f"callbacks.{kind.__qualname__}"
        same = sum(known.split("#")[0] == first for known in found)
        name = f"{first}#{same + 1}" if same else first
        found[name] = constructor_arguments(callback) or f"{kind.__qualname__}()"
        found |= {f"{name}.{word}": text for word, text in other_contents(callback).items()}
    return found


def _of_the_data(data: object) -> Settings:
    """Return the public attributes of a data module that decide its batches: plain values and transforms."""
    public = {name: value for name, value in vars(data).items() if not name.startswith("_")}
    kept = {name: value for name, value in public.items() if name not in _NOT_OF_THE_DATA}
    found = _flat("data", kept)
    for name, value in kept.items():
        known = any(key == f"data.{name}" or key.startswith(f"data.{name}.") for key in found)
        text = None if known else described(value)
        if text is not None:
            found[f"data.{name}"] = text
    return found


def differences(stored: Mapping[str, Plain], present: Mapping[str, Plain]) -> list[str]:
    """Return one phrase for each setting that is not what it was, such as ``"seed: 0 in the checkpoint, 5 now"``.

    Settings that another version of this package wrote are compared as far as both know them: it lacks the options that
    came since. If the list is long, the first phrases are returned, and how many more there are.

    Example:
        >>> differences({"seed": 0, "data.batch_size": 64}, {"seed": 5, "data.batch_size": 64})
        ['seed: 0 in the checkpoint, 5 now']
    """
    names = [*stored, *(name for name in present if name not in stored)]
    if any(stored.get(name) != present.get(name) for name in WRITER):
        names = [name for name in stored if name in present and name not in WRITER]
    found = [
        f"{name}: {_word(stored, name)} in the checkpoint, {_word(present, name)} now"
        for name in names
        if _word(stored, name) != _word(present, name) and not _is_a_callback_of_one(name, stored, present)
    ]
    more = len(found) - _LISTED
    return [*found[:_LISTED], f"and {more} more"] if more > 0 else found


def _is_a_callback_of_one(name: str, stored: Mapping[str, Plain], present: Mapping[str, Plain]) -> bool:
    """Return whether a callback came or went; Lightning itself warns about one with a state."""
    return name.startswith("callbacks.") and not (name in stored and name in present)


def _flat(prefix: str, value: object) -> Settings:
    """Flatten nested mappings and sequences of plain values to dotted names; anything else is left out."""
    if isinstance(value, Mapping):
        return {key: leaf for name, part in value.items() for key, leaf in _flat(f"{prefix}.{name}", part).items()}
    if isinstance(value, list | tuple) and all(_is_plain(part) for part in value):
        return {prefix: repr(list(value))}
    return {prefix: value} if _is_plain(value) else {}


def _is_plain(value: object) -> TypeGuard[Plain]:
    return value is None or isinstance(value, bool | int | float | str)


def _word(settings: Mapping[str, Plain], name: str) -> str:
    return repr(settings[name]) if name in settings else "absent"
