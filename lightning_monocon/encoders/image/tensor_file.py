# SPDX-License-Identifier: Apache-2.0
"""Read the tensors of a file of weights, never code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors``, ``.pth`` or ``.pt`` file by name, on the CPU.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If the file is damaged or holds anything but tensors by name.
    """
    from safetensors.torch import load_file

    with undamaged("weights", path):
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    if not isinstance(state, dict):
        raise ValueError(
            f"`weights` must be a file of tensors by name; {str(path)!r} holds one {type(state).__name__}: write it "
            "with `torch.save(model.state_dict(), path)`."
        )
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(
                f"`weights` must be a file of tensors by name; {str(path)!r} holds one {type(value).__name__} under "
                f"{name!r}: write it with `torch.save(model.state_dict(), path)`."
            )
    return state


@contextmanager
def undamaged(argument: str, path: Path) -> Iterator[None]:
    """Turn any error of the block that reads a file of tensors into a ValueError of one sentence.

    Errors that say nothing of the content pass: of the file system, of memory and of a missing package.
    """
    try:
        yield
    except (OSError, MemoryError, ImportError):
        raise
    except Exception as error:  # bytes that are no pickle can make its reader raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(
            f"`{argument}` must be a file of tensors, {str(path)!r} is damaged or holds code or other things: {reason}"
        ) from error
