# SPDX-License-Identifier: Apache-2.0
"""Identify the rows of a loader by one digest: which rows they are, and what the model gets of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    for part in _bytes(np.asarray(getattr(dataset, "ids", ()))):
        digest.update(part)
    first, second = (_digest(transfer(_some_rows(loader))) for _ in range(2)) if len(dataset) else ("", "")
    digest.update((first if first == second else "random").encode())
    return digest.hexdigest()


def _some_rows(loader: DataLoader[Any]) -> object:
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
    for part in _bytes(batch):
        digest.update(part)
    return digest.hexdigest()


def _bytes(value: object) -> Iterator[bytes]:
    """Yield a batch of anything as bytes: tensors and arrays by their content, objects by their plain attributes."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        yield f"{plain.dtype} {tuple(plain.shape)}".encode()
        yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        yield f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield repr(name).encode()
            yield from _bytes(part)
    elif isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes):
        yield f"[{len(value)}".encode()
        for part in value:
            yield from _bytes(part)
    elif value is None or isinstance(value, str | bytes | bool | int | float | np.generic):
        yield f"{value!r};".encode()
    else:
        yield type(value).__qualname__.encode()
        yield from _bytes(getattr(value, "__dict__", None))
