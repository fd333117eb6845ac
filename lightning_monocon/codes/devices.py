# SPDX-License-Identifier: Apache-2.0
"""Move the tensors of a dataclass to a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Holder = TypeVar("Holder")


def to_device(holder: Holder, device: torch.device) -> Holder:
    """Return a copy of a dataclass whose tensors, alone or in sequences, lie on a device."""
    held: Any = holder
    moved = {own.name: _moved(getattr(holder, own.name), device) for own in fields(held) if own.init}
    copy: Holder = replace(held, **moved)
    return copy


def _moved(value: object, device: torch.device) -> object:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_moved(each, device) for each in value]
    return value
