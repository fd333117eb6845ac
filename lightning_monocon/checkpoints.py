# SPDX-License-Identifier: Apache-2.0
"""Read a checkpoint without running anything that is in it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch


def read_checkpoint(path: str | os.PathLike[str], map_location: torch.device | str | None = "cpu") -> dict[str, Any]:
    """Return the content of a local checkpoint, loaded with ``weights_only=True``.

    Args:
        path: A file on this machine.
        map_location: Where the tensors go.

    Raises:
        ValueError: If the path is a URL, the file holds anything but plain values and tensors, or it is not a
            checkpoint of this package.
        FileNotFoundError: If there is no such file.
    """
    if "://" in os.fspath(path):
        raise ValueError(f"`path` must be a file on this machine, got the URL {path!r}. Download and check it first.")
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"`path` must be an existing checkpoint, got {str(file)!r}.")
    try:
        content = torch.load(file, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f"`path` must be a whole checkpoint of plain values and tensors; {str(file)!r} "
            f"({file.stat().st_size} bytes) is damaged or holds code: {error}"
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content or "monocon" not in content:
        raise ValueError(f"`path` must be a checkpoint written by MonoCon, got {str(file)!r}, which is not.")
    return content
