# SPDX-License-Identifier: Apache-2.0
"""Embed training rows as an older model does, whose vectors are stored and stay as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from typing import TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lightning_monocon.functional.unit_rows import directions
from lightning_monocon.runs.digest import hash_tensors

Old: TypeAlias = "str | os.PathLike[str] | nn.Module"
"""What `OldSpace.of` takes."""


class OldSpace:
    """Hold the space of stored vectors, and the frozen model that made them.

    It is not a submodule of the model that learns from it: its weights are neither trained nor saved again.

    Args:
        dimension: k, numbers in a stored vector.
        model: Hash of the weights.
        module: Maps inputs to ``(B, k)``; None where only the description was saved.
    """

    def __init__(self, dimension: int, model: str, module: nn.Module | None = None) -> None:
        self.dimension = dimension
        self.model = model
        self._module = module

    @classmethod
    def of(cls, old: Old) -> Self:
        """Return the space of an export's folder, or of a module.

        Args:
            old: A folder that `monocon export` wrote, or a module with ``out_features``, of which a frozen copy in
                eval mode is kept.

        Raises:
            ValueError: If there is no such folder, it cannot be loaded, or the width of its vectors is not known.
        """
        module = _copied(old) if isinstance(old, nn.Module) else _exported(old)
        width = getattr(module, "out_features", None)
        if not isinstance(width, int) or width < 1:
            raise ValueError(
                f"`compatible_with` must say how wide its vectors are; {type(module).__name__} has no integer "
                "`out_features`. Set it: module.out_features = <width>."
            )
        return cls(width, hash_tensors(module.state_dict()), module.eval().requires_grad_(False))

    def describe(self) -> dict[str, int | str]:
        """Return the plain values that a checkpoint keeps."""
        return {"dimension": self.dimension, "model": self.model}

    def to(self, device: torch.device) -> None:
        """Move the old model to a device."""
        if self._module is not None:
            self._module.to(device)

    @torch.no_grad()
    def __call__(self, inputs: object) -> Tensor:
        """Return the old vectors ``(B, k)`` of a batch of inputs, unit length, from the old model in its own precision.

        Raises:
            ValueError: If the model was not given, or returns other than ``(B, k)``.
        """
        if self._module is None:
            raise ValueError(
                "`compatible_with` must be given to train on: the checkpoint says which old space it belongs to, and "
                "does not hold the old model. Pass its export."
            )
        dtype = next((part.dtype for part in self._module.parameters() if part.is_floating_point()), torch.float32)
        with torch.autocast(_device_of(self._module), enabled=False):
            rows = self._module(_in_dtype(inputs, dtype))
        if not isinstance(rows, Tensor) or rows.ndim != 2 or rows.shape[1] != self.dimension:
            found = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise ValueError(
                f"`compatible_with` must return vectors (B, {self.dimension}), the width that it states; got {found}. "
                "Correct its `out_features`."
            )
        return directions(rows)


def _copied(module: nn.Module) -> nn.Module:
    """Return a copy without the trainer of a LightningModule, which holds its data."""
    trainer = getattr(module, "_trainer", None)
    return deepcopy(module, {} if trainer is None else {id(trainer): None})


def _exported(folder: str | os.PathLike[str]) -> nn.Module:
    from lightning_monocon.export.loading import load  # a higher floor: exports are made of trained models

    try:
        module = load(os.fspath(folder)).module
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"`compatible_with` must be a whole export; it is not: {error}") from error
    if module is None:
        raise ValueError(
            f"`compatible_with` must be an export whose encoder this package can build; that of {os.fspath(folder)} is "
            "your own: pass lightning_monocon.export.load(folder, encoder=<the same architecture>).module instead."
        )
    return module


def _device_of(module: nn.Module) -> str:
    return next((part.device.type for part in module.parameters()), "cpu")


def _in_dtype(inputs: object, dtype: torch.dtype) -> object:
    """Return inputs whose floating-point tensors are of a dtype; a trainer in low precision converts its batches."""
    if isinstance(inputs, Tensor):
        return inputs.to(dtype) if inputs.is_floating_point() else inputs
    if isinstance(inputs, Mapping):
        return {name: _in_dtype(part, dtype) for name, part in inputs.items()}
    return inputs
