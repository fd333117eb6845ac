# SPDX-License-Identifier: Apache-2.0
"""What a stored vector costs: the same frontier with the kept coordinates rounded to 8 bits or to one.

Coordinates are those along the gallery's principal components, centred. ``int8``: each coordinate is divided by a
127th of its largest magnitude in the gallery, rounded and clipped; the scale is one number per coordinate for the whole
collection. ``binary``: the sign, a bit each. Neighbours are ranked by the cosine of the rounded coordinates (for
binary that is the Hamming distance, with many ties).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Storage = Literal["float32", "int8", "binary"]
"""How a coordinate is kept: 4 bytes, 1 byte, or 1 bit."""

ROUNDED: tuple[Storage, ...] = ("int8", "binary")

_BITS: dict[Storage, int] = {"float32": 32, "int8": 8, "binary": 1}


def vector_bytes(dims: int, storage: Storage) -> int:
    """Bytes of one vector of ``dims`` coordinates.

    Example:
        >>> vector_bytes(64, "float32"), vector_bytes(64, "int8"), vector_bytes(12, "binary")
        (256, 64, 2)
    """
    return -(-dims * _BITS[storage] // 8)


def dims_within(budget: int, storage: Storage) -> int:
    """Most coordinates that fit ``budget`` bytes; 0 if not even one does.

    Example:
        >>> dims_within(6, "float32"), dims_within(6, "int8"), dims_within(6, "binary")
        (1, 6, 48)
    """
    return budget * 8 // _BITS[storage]


@dataclass(frozen=True, eq=False)
class Rounding:
    """Calibrated on the gallery, applied to gallery and queries alike.

    Attributes:
        storage: how a coordinate is kept.
        step: ``(D,)`` width of one int8 step per coordinate.
    """

    storage: Storage
    step: Tensor

    @classmethod
    def fit(cls, gallery: Tensor, storage: Storage) -> Rounding:
        """Calibrate on the gallery's coordinates ``(N, D)``."""
        return cls(storage, gallery.abs().amax(0).clamp_min(torch.finfo(gallery.dtype).tiny) / 127)

    def __call__(self, rows: Tensor) -> Tensor:
        """Return what a search sees of ``rows`` ``(N, D)``, as floating-point numbers."""
        if self.storage == "int8":
            return (rows / self.step).round_().clamp_(-127, 127) * self.step
        if self.storage == "binary":
            return torch.where(rows >= 0, 1.0, -1.0).to(rows.dtype)
        return rows
