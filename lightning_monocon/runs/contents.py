# SPDX-License-Identifier: Apache-2.0
"""Describe what an attribute holds beside plain values: mappings, objects, tensors, the closure of a function."""

from __future__ import annotations

import argparse
import functools
import hashlib
import inspect
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_monocon.runs.digest import hash_tensors

Array: TypeAlias = "Tensor | NDArray[Any]"

_DEPTH, _LONG, _LONGEST, _TEXT = 4, 64, 100_000, 300
_HASHED, _SAMPLED = 4 << 20, 1 << 16  # bytes that are hashed whole; elements of what is larger
_PLAIN = bool | int | float | str | bytes | Enum | torch.dtype | None
_UNKNOWN = (PurePath, Dataset, DataLoader, Sampler)
_NAMESPACES = argparse.Namespace | SimpleNamespace
# objects of these packages hold state of the process, such as locks, loggers and trainers
_OPAQUE = {*sys.stdlib_module_names, "torch", "numpy", "lightning", "pytorch_lightning", "lightning_fabric"}
# where something is stored or runs, and what is printed: neither changes a value
NOT_OF_THE_VALUES = {"training", "root", "folder", "path", "name_or_path", "cache", "verbose", "inplace"}
_NOT_OF_THE_CONTENTS = {*NOT_OF_THE_VALUES, "device", "num_workers"}


def contents(value: object, depth: int = _DEPTH) -> str | None:
    """Return a text that is equal for equal contents in every process; ``None`` for paths and data sets.

    An object is described by its public attributes; one of the standard library or of a framework by its type alone.

    Example:
        >>> contents({"rate": 0.1, "sizes": (1, 2)})
        "{'rate': 0.1, 'sizes': [1, 2]}"
    """
    if isinstance(value, _UNKNOWN) or (isinstance(value, str) and os.sep in value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return _short(repr(value), value)
    if isinstance(value, Tensor | np.ndarray):
        return tensor_contents(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _short(_of_a_container(value, depth), value)
    return _short(_of_an_object(value, depth), value)


def tensor_contents(value: Array) -> str | None:
    """Return shape, type and digest, of a large tensor that of a sample; ``None`` for what a forward pass left behind.

    Example:
        >>> tensor_contents(torch.zeros(2, 3))
        'tensor (2, 3) torch.float32 d962f8931e18'
    """
    if isinstance(value, Tensor) and (value.requires_grad or value.is_inference()):
        return None
    kind = f"{'tensor' if isinstance(value, Tensor) else 'array'} {tuple(value.shape)} {value.dtype}"
    try:
        flat = (value.detach() if isinstance(value, Tensor) else value).reshape(-1)
        if value.nbytes > _HASHED:
            flat = flat[:: max(1, len(flat) // _SAMPLED)]
        tensor = flat if isinstance(flat, Tensor) else torch.from_numpy(flat.copy())
        return f"{kind} {hash_tensors({'': tensor})[:12]}"
    except (TypeError, ValueError, RuntimeError):  # sparse, on the meta device, an array of texts
        return kind


def _of_a_container(value: Collection[object], depth: int) -> str:
    if not depth or len(value) > _LONGEST:
        return f"{type(value).__qualname__} of {len(value)}"
    parts = value.values() if isinstance(value, Mapping) else value
    if len(value) > _LONG and not all(isinstance(part, _PLAIN) for part in parts):
        return f"{type(value).__qualname__} of {len(value)}"
    if isinstance(value, Mapping):
        items = ((contents(name, depth - 1), name, part) for name, part in value.items())
        known = {
            key: contents(part, depth - 1)
            for key, name, part in items
            if key is not None and not (isinstance(name, str) and name in _NOT_OF_THE_CONTENTS)
        }
        return "{" + ", ".join(f"{key}: {known[key]}" for key in sorted(known) if known[key] is not None) + "}"
    words = [contents(part, depth - 1) or type(part).__qualname__ for part in value]
    return f"[{', '.join(sorted(words) if isinstance(value, set | frozenset) else words)}]"


def _of_an_object(value: object, depth: int) -> str:
    kind = type(value)
    if isinstance(value, functools.partial):
        parts = (contents(part, depth) for part in (value.func, value.args, value.keywords))
        return f"partial({', '.join(map(str, parts))})"
    if inspect.isroutine(value) or isinstance(value, type):
        enclosed = ", ".join(_enclosed(value))
        return f"{getattr(value, '__qualname__', kind.__name__)}{f'({enclosed})' if enclosed else ''}"

    opaque = kind.__module__.split(".")[0] in _OPAQUE and not isinstance(value, _NAMESPACES)
    if opaque or isinstance(value, nn.Module) or not depth:
        return kind.__qualname__
    words = {
        name: contents(part, depth - 1)
        for name, part in getattr(value, "__dict__", {}).items()
        if not name.startswith("_") and name not in _NOT_OF_THE_CONTENTS
    }
    return f"{kind.__qualname__}({', '.join(f'{name}={words[name]}' for name in sorted(words) if words[name])})"


def _enclosed(function: object) -> Iterator[str]:
    """Yield the plain values in the closure of a function, such as a decay."""
    inner = inspect.unwrap(function) if callable(function) else function  # `torch.no_grad` wraps it, for example
    names = getattr(getattr(inner, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(inner, "__closure__", None) or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:  # not set yet
            continue
        if isinstance(value, _PLAIN) and contents(value) is not None:
            yield f"{name}={contents(value)}"


def _short(text: str, value: object) -> str:
    if len(text) <= _TEXT:
        return text
    return f"{type(value).__qualname__} {hashlib.sha256(text.encode()).hexdigest()[:12]}"
