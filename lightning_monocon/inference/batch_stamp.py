# SPDX-License-Identifier: Apache-2.0
"""Identify the rows of a loader by one digest: which rows they are, and what the model gets of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

_PROBED = 8


def stamp_rows(loader: DataLoader[Any], transfer: Callable[[Any], Any]) -> str:
    """Return a digest of a loader's number of rows, their ids, and a few of them as the model gets them.

    The rows lie evenly between the first and the last. If reading them again gives other values, a transform is random,
    and the digest covers only number and ids. For a data set without a length it is empty.

    Args:
        loader: Loader over a data set with a length.
        transfer: Applied to a batch as the trainer does before the model gets it.
    """
    dataset: Any = loader.dataset
    if not hasattr(dataset, "__len__"):
        return ""
    digest = hashlib.sha256(f"{len(dataset)} rows".encode())
    _add(digest, np.asarray(getattr(dataset, "ids", ())))
    first, second = (_digest(transfer(_some_rows(loader))) for _ in range(2)) if len(dataset) else ("", "")
    digest.update((first if first == second else "random").encode())
    return digest.hexdigest()


def _some_rows(loader: DataLoader[Any]) -> Any:  # noqa: ANN401  # whatever the user's batches are
    size = len(loader.dataset)  # type: ignore[arg-type]  # the caller has seen its length
    rows = np.unique(np.linspace(0, size - 1, _PROBED).round().astype(np.int64)).tolist()
    probe = DataLoader(
        loader.dataset,
        batch_size=len(rows),
        sampler=rows,
        # a file that is opened at the first row must not be opened here and then shared with forked workers
        num_workers=min(loader.num_workers, 1),
        collate_fn=loader.collate_fn,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
    )
    return next(iter(probe))


def _digest(batch: object) -> str:
    digest = hashlib.sha256()
    _add(digest, batch)
    return digest.hexdigest()


def _add(digest: Any, value: object) -> None:  # noqa: ANN401  # hashlib's own type has no public name
    """Add a batch of anything to a digest: tensors and arrays by their bytes, objects by their plain attributes."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        digest.update(f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for name, part in value.items():
            digest.update(repr(name).encode())
            _add(digest, part)
    elif isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes):
        digest.update(f"[{len(value)}".encode())
        for part in value:
            _add(digest, part)
    elif value is None or isinstance(value, str | bytes | bool | int | float | np.generic):
        digest.update(f"{value!r};".encode())
    else:
        digest.update(type(value).__qualname__.encode())
        _add(digest, getattr(value, "__dict__", None))
