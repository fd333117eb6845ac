# SPDX-License-Identifier: Apache-2.0
"""Read the tensors of a file of weights, never code."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors``, ``.pth`` or ``.pt`` file by name, on the CPU.

    Raises:
        ValueError: If the file is damaged or holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state: dict[str, Tensor] = load_file(path)
        return state
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"`weights` must be a file of tensors, {str(path)!r} is damaged or holds code: {error}"
        ) from error
    return state
