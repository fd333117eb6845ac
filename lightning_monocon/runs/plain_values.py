# SPDX-License-Identifier: Apache-2.0
"""Serialise a checkpoint so that it can be read again without running any code in it."""

from __future__ import annotations

import copy
from collections.abc import ItemsView, Iterator, Mapping
from io import BytesIO
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch.serialization import skip_data

# NumPy's scalars that compute as Python's types do; a float32 does not, so it must not become a float on resume
_SAME_IN_PYTHON = (np.bool_, np.integer, np.float64, np.complex128, np.str_, np.bytes_)
_CONTAINERS = (dict, list, tuple)
_State = TypeVar("_State")


def serialized(checkpoint: dict[str, Any], name: str) -> BytesIO:
    """Return a checkpoint's bytes after reading them as a resume will; raise TypeError if it is not plain."""
    try:
        return _read_back(checkpoint)
    except Exception as error:  # the pickler and the unpickler raise many kinds of errors
        found = _culprit(checkpoint, "checkpoint")
        if found is None:
            raise
        place, value = found
        raise TypeError(
            f"cannot write {name}: `{place}` must be a plain value (a number, text, a list, a dictionary) or a "
            f"tensor, because no checkpoint is read in any other way; got {_kind(value)}. Nothing was overwritten: "
            "return float(...), a list or a tensor where that value is saved (`state_dict`, `on_save_checkpoint`, "
            "`save_hyperparameters`)"
        ) from error


def plain(value: _State) -> _State:
    """Return a state with NumPy scalars as plain Python values; the state itself is not changed.

    Example:
        >>> plain({"best": np.float64(0.5), "epochs": [np.int64(3), 4]})
        {'best': 0.5, 'epochs': [3, 4]}

    Raises:
        TypeError: If a part of the state contains itself, or is nested too deeply to be saved; the place is named.
    """
    try:
        return cast("_State", _plain(value))
    except RecursionError:
        found = _endless(value)
        raise TypeError(
            f"cannot save the checkpoint: {found}. Nothing was overwritten: leave it out where that value is saved "
            "(`state_dict`, `on_save_checkpoint`, `save_hyperparameters`)"
        ) from None


def _endless(value: object) -> str:
    """Return which part of a state contains itself, found without recursion, or which is nested most deeply."""
    todo: list[tuple[str, object, dict[int, str]]] = [("checkpoint", value, {})]
    deepest, depth = "checkpoint", 0
    while todo:
        place, part, around = todo.pop()
        if id(part) in around:
            return f"`{place}` contains itself: it is `{around[id(part)]}` again"
        if len(around) > depth:
            deepest, depth = place, len(around)
        if isinstance(part, dict) or type(part) in (list, tuple):
            todo += [(where, each, {**around, id(part): place}) for where, each in _parts(part, place)]
    return f"`{deepest[:200]}...` is nested {depth} levels deep"


def _plain(value: object) -> object:
    if isinstance(value, _SAME_IN_PYTHON):
        return value.item()
    if isinstance(value, dict):
        items = {_plain(key): _plain(part) for key, part in value.items()}
        if _same(items.items(), value.items()):
            return value
        changed = copy.copy(value)  # keeps an OrderedDict, and the `_metadata` of a module's state
        changed.clear()
        changed.update(items)
        return changed
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        parts = [_plain(part) for part in value]
        return value if all(map(_is, parts, value)) else type(value)(parts)
    return value


def _same(found: ItemsView[object, object], given: ItemsView[object, object]) -> bool:
    return len(found) == len(given) and all(
        one is other and part is before for (one, part), (other, before) in zip(found, given, strict=True)
    )


def _is(one: object, other: object) -> bool:
    return one is other


def _read_back(value: object) -> BytesIO:
    buffer = BytesIO()  # straight to the file, torch would hide a full disk behind an error of its own
    torch.save(value, buffer)
    try:
        buffer.seek(0)
        with skip_data():  # the types of tensors are known without their values
            torch.load(buffer, weights_only=True)
    except Exception:  # but not those of nested tensors, whose shapes are values
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    return buffer


def _culprit(value: object, place: str) -> tuple[str, object] | None:
    """Return the innermost part that cannot be read back, and where it is."""
    try:
        _read_back(value)
    except Exception:  # see `serialized`
        for where, part in _parts(value, place):
            if found := _culprit(part, where):
                return found
        return place, value
    return None


def _parts(value: object, place: str) -> Iterator[tuple[str, object]]:
    if not isinstance(value, _CONTAINERS):
        return
    if isinstance(value, Mapping):
        yield from ((f"a key of {place}", key) for key in value)
        yield from ((f"{place}[{key!r}]", part) for key, part in value.items())
    else:
        yield from ((f"{place}[{i}]", part) for i, part in enumerate(cast("list[object]", value)))


def _kind(value: object) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"{kind} {str(value)[:60]!r}"
