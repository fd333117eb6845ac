# SPDX-License-Identifier: Apache-2.0
"""Serialise a checkpoint so that it can be read again without running anything that is in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, cast

import numpy as np
import torch
from torch.serialization import skip_data

# NumPy's scalars that compute as the types of Python do; a float32 does not, so it is no float after a resume
_SAME_IN_PYTHON = (np.bool_, np.integer, np.float64, np.complex128, np.str_, np.bytes_)
_CONTAINERS = (dict, list, tuple)


def serialized(checkpoint: dict[str, Any], name: str) -> BytesIO:
    """Return the bytes of a checkpoint after reading them as a resume will: plain values and tensors only.

    Args:
        checkpoint: As `plain` returns it.
        name: What is written, for the error.

    Raises:
        TypeError: If the checkpoint holds anything else; the place and the type are named.
    """
    try:
        return _read_back(checkpoint)
    except Exception as error:  # the pickler and the unpickler raise whatever they stumble over
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


def plain(value: Any) -> Any:  # noqa: ANN401  # whatever a state may hold
    """Return a state with each NumPy scalar that Python has a type for in that type; the state itself is not changed.

    Example:
        >>> plain({"best": np.float64(0.5), "epochs": [np.int64(3), 4]})
        {'best': 0.5, 'epochs': [3, 4]}
    """
    if isinstance(value, _SAME_IN_PYTHON):
        return value.item()
    if isinstance(value, dict):
        items = {plain(key): plain(part) for key, part in value.items()}
        if _same(items.items(), value.items()):
            return value
        changed = copy.copy(value)  # keeps an OrderedDict, and the `_metadata` of a module's state
        changed.clear()
        changed.update(items)
        return changed
    if type(value) in (list, tuple):
        parts = [plain(part) for part in value]
        return value if all(map(_is, parts, value)) else type(value)(parts)
    return value


def _same(found: Any, given: Any) -> bool:  # noqa: ANN401  # the items of two dictionaries of anything
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
