# SPDX-License-Identifier: Apache-2.0
"""Find the plain arguments of objects, such as a dropout rate in an encoder or a smoothing in a loss."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_monocon.runs.contents import NOT_OF_THE_VALUES, contents, tensor_contents
from lightning_monocon.runs.digest import hash_tensors

Plain: TypeAlias = bool | int | float | str | None
Settings: TypeAlias = dict[str, Plain]

FORMAT = 3
"""Version of the settings."""
WRITER = ("settings", "package")
"""Settings that say which version described a run; another one may know others, and what both know is compared."""

_DEPTH, _LONG = 4, 64
_CONTAINERS = (Mapping, list, tuple, set, frozenset)
_UNKNOWN = (PurePath, Dataset, DataLoader, Sampler, Tensor, np.ndarray, torch.Generator)
_COMPILED = "_orig_mod"  # the name under which `torch.compile` keeps what it wraps


def module_arguments(module: nn.Module, prefix: str, known: Iterable[str] = ()) -> Settings:
    """Return the plain arguments of a module and of its parts, one text for each part, by dotted name.

    Anything else that an attribute holds (a mapping, an object, a tensor) has an entry of its own below its part.

    Args:
        module: The module. Its own entry holds arguments of its constructor only; entries of its parts hold every
            public plain attribute, because a part may keep an argument under another name.
        prefix: First word of the names.
        known: Names of settings that are not repeated, such as ``"model.loss.temperature"``.

    Example:
        >>> module_arguments(nn.Sequential(nn.Dropout(0.5)), "model")
        {'model.0': 'Dropout(p=0.5)'}
    """
    found: Settings = {}
    said, last = set(known), {name.rsplit(".", 1)[-1] for name in known}
    shared: set[tuple[str, str]] = set()  # a configuration that many parts keep is listed once

    for name, part in module.named_modules():
        if hasattr(part, _COMPILED):
            continue
        place = ".".join(word for word in (prefix, *name.split(".")) if word not in ("", _COMPILED))
        words = _arguments(part) if part is module else {**_public(part), **_arguments(part)}
        new = {
            word: value
            for word, value in words.items()
            if f"{place}.{word}" not in said and not (part is module and word in last)
        }
        if new or part is not module:
            found[place] = _call(part, new)
        for word, text in other_contents(part, every=part is not module).items():
            if f"{place}.{word}" not in said and (word, text) not in shared:
                shared.add((word, text))
                found[f"{place}.{word}"] = text
    return found


def other_contents(value: object, every: bool = False) -> dict[str, str]:
    """Return what an object's attributes hold beside plain arguments, by name.

    Args:
        value: A callback, a module or a part of one.
        every: Whether every public attribute counts, not only arguments of the constructor. Tensors of a module always
            count; the state of a metric and buffers that a checkpoint restores never do.
    """
    names = set(inspect.signature(type(value).__init__).parameters)
    metric = getattr(value, "_defaults", ()) if isinstance(value, nn.Module) else ()
    found: dict[str, str | None] = {}
    for name, part in _attributes(value):
        tensor = isinstance(value, nn.Module) and isinstance(part, Tensor | np.ndarray)
        public = (every or tensor) and not name.startswith("_") and name not in metric
        if public or name.removeprefix("_") in names:
            text = contents(part)
            found[name.removeprefix("_")] = text if text != _word(part) else None
    if isinstance(value, nn.Module):
        kept = {name: value._buffers.get(name) for name in sorted(value._non_persistent_buffers_set - names)}
        found |= {name: tensor_contents(buffer) for name, buffer in kept.items() if buffer is not None}
    return {name: text for name, text in found.items() if text is not None}


def constructor_arguments(value: object) -> str | None:
    """Return ``Class(name=value, ...)`` of the plain arguments that an object keeps; ``None`` if there are none."""
    words = _arguments(value)
    return _call(value, words) if words else None


def described(value: object, depth: int = _DEPTH) -> str | None:
    """Return a text that is equal for objects that compute the same, or ``None`` for an object of an unknown kind.

    The text covers plain values, short containers of them, functions and classes by name, and other objects
    (transforms, for example) by their public attributes.
    """
    if isinstance(value, _UNKNOWN) or (isinstance(value, _CONTAINERS) and len(value) > _LONG):
        return None
    if value is None or isinstance(value, bool | int | float | str | bytes | Enum | torch.dtype):
        return repr(value)
    if isinstance(value, Mapping):
        parts = {repr(name): described(part, depth - 1) for name, part in value.items()} if depth else {}
        return "{" + ", ".join(f"{name}: {part}" for name, part in parts.items() if part is not None) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        words = [described(part, depth - 1) or type(part).__qualname__ for part in value] if depth else []
        return f"[{', '.join(sorted(words) if isinstance(value, set | frozenset) else words)}]"
    return _described_object(value, depth)


def _described_object(value: object, depth: int) -> str | None:
    if isinstance(value, functools.partial):
        return f"partial({described(value.func)}, {described(value.args)}, {described(value.keywords)})"
    if inspect.isroutine(value) or isinstance(value, type):
        return str(getattr(value, "__qualname__", type(value).__name__))
    if isinstance(value, nn.Module):
        return f"{type(value).__qualname__}{module_arguments(value, '')}"
    if not depth:
        return None
    words = {name: described(part, depth - 1) for name, part in _attributes(value) if not name.startswith("_")}
    return _call(value, {name: word for name, word in words.items() if word is not None})


def _arguments(value: object) -> dict[str, str]:
    """Return the plain arguments of an object's constructor that it keeps under their own names."""
    names = set(inspect.signature(type(value).__init__).parameters)
    kept = {name.removeprefix("_"): part for name, part in _attributes(value) if name.removeprefix("_") in names}
    words = {name: _word(part) for name, part in kept.items()}
    if isinstance(value, nn.Module):  # such as the class weights of a loss
        words |= {name: _digest(part) for name, part in value._buffers.items() if name in names and part is not None}
    return {name: word for name, word in words.items() if word is not None}


def _public(value: object) -> dict[str, str]:
    words = {name: _word(part) for name, part in _attributes(value) if not name.startswith("_")}
    return {name: word for name, word in words.items() if word is not None}


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    for name, part in getattr(value, "__dict__", {}).items():
        if name not in NOT_OF_THE_VALUES and not (isinstance(part, str) and os.sep in part):
            yield name, part


def _word(value: object) -> str | None:
    """Return the text of a plain value, a sequence of plain values, a function or a class."""
    if isinstance(value, list | tuple):
        return described(value) if all(_word(part) is not None for part in value) else None
    plain = value is None or isinstance(value, bool | int | float | str | Enum | torch.dtype)
    known = plain or inspect.isroutine(value) or isinstance(value, type | functools.partial)
    return described(value) if known else None


def _digest(tensor: Tensor) -> str:
    return f"tensor {hash_tensors({'': tensor})[:12]}"


def _call(value: object, words: Mapping[str, str]) -> str:
    return f"{type(value).__qualname__}({', '.join(f'{name}={words[name]}' for name in sorted(words))})"
