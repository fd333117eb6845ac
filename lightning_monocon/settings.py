# SPDX-License-Identifier: Apache-2.0
"""What a run must share with the checkpoint it goes on from, and where the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from lightning.pytorch import LightningModule, Trainer

Plain: TypeAlias = bool | int | float | str | None
Settings: TypeAlias = dict[str, Plain]

_OF_THE_TRAINER = ("max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val", "limit_train_batches")
# how the data is fetched, and where from: neither changes a batch
_NOT_OF_THE_DATA = {
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

    Taken are the seed, the world size, the trainer's limits, the module's ``description`` (`lightning_monocon.MonoCon`
    has one) or its hyper-parameters, and the data module's public plain attributes.

    Args:
        trainer: With its data module, if any.
        pl_module: The module.
        seed: The run's.
    """
    found: Settings = {"seed": seed, "world_size": trainer.world_size, "precision": str(trainer.precision)}
    found |= {f"trainer.{name}": value for name in _OF_THE_TRAINER if _is_plain(value := getattr(trainer, name, None))}
    found |= _flat("model", getattr(pl_module, "description", None) or dict(pl_module.hparams))
    data = getattr(trainer, "datamodule", None)
    if data is not None:
        public = {name: value for name, value in vars(data).items() if not name.startswith("_")}
        found["data"] = type(data).__qualname__
        found |= _flat("data", {name: value for name, value in public.items() if name not in _NOT_OF_THE_DATA})
    return found


def differences(stored: Mapping[str, Plain], present: Mapping[str, Plain]) -> list[str]:
    """Return one phrase for each setting that is not what it was, such as ``"seed: 0 in the checkpoint, 5 now"``.

    Example:
        >>> differences({"seed": 0, "data.batch_size": 64}, {"seed": 5, "data.batch_size": 64})
        ['seed: 0 in the checkpoint, 5 now']
    """
    names = [*stored, *(name for name in present if name not in stored)]
    return [
        f"{name}: {_word(stored, name)} in the checkpoint, {_word(present, name)} now"
        for name in names
        if _word(stored, name) != _word(present, name)
    ]


def _flat(prefix: str, value: object) -> Settings:
    """Flatten nested mappings and sequences of plain values to dotted names; anything else is left out."""
    if isinstance(value, Mapping):
        return {key: leaf for name, part in value.items() for key, leaf in _flat(f"{prefix}.{name}", part).items()}
    if isinstance(value, list | tuple) and all(_is_plain(part) for part in value):
        return {prefix: repr(list(value))}
    return {prefix: value} if _is_plain(value) else {}  # type: ignore[dict-item]  # it is plain


def _is_plain(value: Any) -> bool:  # noqa: ANN401  # asked of anything
    return value is None or isinstance(value, bool | int | float | str)


def _word(settings: Mapping[str, Plain], name: str) -> str:
    return repr(settings[name]) if name in settings else "absent"
