# SPDX-License-Identifier: Apache-2.0
"""Store the numbers of a vector in 8 bits or in one: what the scorecard measures and what an export ships.

``int8``: every number is divided by one step, a 127th of the largest magnitude in the gallery, rounded and clipped. A
store that ranks the codes as they are then ranks as the vectors do; with a step per number it would not.
``binary``: bit j is set if and only if number j is greater than 0, so an exact zero is bit 0 and reads back as -1. Bits
are packed eight to a byte, the first in the highest bit, as NumPy's ``packbits`` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_monocon.functional.neighbours import DistanceName

Storage = Literal["float32", "int8", "binary"]
"""Storage type of a number: 4 bytes, 1 byte, or 1 bit."""

ROUNDED: tuple[Storage, ...] = ("int8", "binary")

_BITS: dict[Storage, int] = {"float32": 32, "int8": 8, "binary": 1}
_BYTE = 8


def vector_bytes(dims: int, dtype: Storage) -> int:
    """Return the bytes that one vector of ``dims`` numbers takes.

    Example:
        >>> vector_bytes(64, "float32"), vector_bytes(64, "int8"), vector_bytes(12, "binary")
        (256, 64, 2)
    """
    return -(-dims * _BITS[dtype] // _BYTE)


def dims_within(budget: int, dtype: Storage) -> int:
    """Return how many numbers fit ``budget`` bytes; 0 if not even one does.

    Example:
        >>> dims_within(6, "float32"), dims_within(6, "int8"), dims_within(6, "binary")
        (1, 6, 48)
    """
    return budget * _BYTE // _BITS[dtype]


@dataclass(frozen=True, eq=False)
class Quantiser:
    """Turn vectors into the codes that are stored, and codes into what a search sees of them.

    Attributes:
        storage: Storage type of a number.
        step: ``(k,)`` float32 width of one int8 step of each number, which a fit makes equal; ones for the other types.
    """

    storage: Storage
    step: Tensor = field(repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of one stored vector."""
        return vector_bytes(len(self.step), self.storage)

    @property
    def metric(self) -> DistanceName:
        """Distance that ranks decoded vectors.

        Decoded bits all have one length, so both distances rank them alike, by Hamming distance; the Euclidean one is a
        sum of whole numbers, in which equal Hamming distances stay equal.
        """
        return "euclidean" if self.storage == "binary" else "cosine"

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes of vectors ``(N, k)``.

        Returns:
            The vectors themselves for float32, int8 ``(N, k)``, or for binary uint8 ``(N, ceil(k / 8))``.
        """
        if self.storage == "int8":
            return torch.clamp(torch.round(vectors / self.step), -127, 127).to(torch.int8)
        if self.storage == "binary":
            bits = pad((vectors > 0).to(torch.int32), (0, -len(self.step) % _BYTE))
            places = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.int32, device=vectors.device)
            return (bits.reshape(-1, self.bytes, _BYTE) * places).sum(2).to(torch.uint8)
        return vectors

    def decode(self, codes: Tensor) -> Tensor:
        """Return float32 numbers ``(N, k)`` whose cosines rank as a search over ``codes`` should."""
        if self.storage == "int8":
            return codes.float() * self.step
        if self.storage == "binary":
            shifts = torch.arange(_BYTE - 1, -1, -1, dtype=torch.int32)
            bits = (codes.to(torch.int32)[:, :, None] >> shifts) & 1
            return bits.flatten(1)[:, : len(self.step)].float() * 2 - 1
        return codes


def fit_quantiser(gallery: Tensor, dtype: Storage) -> Quantiser:
    """Return the quantiser that is calibrated on the gallery's vectors ``(N, k)``."""
    if dtype != "int8":
        return Quantiser(dtype, torch.ones(gallery.shape[1]))
    largest = torch.maximum(gallery.amax(), -gallery.amin()).clamp_min(torch.finfo(gallery.dtype).tiny)
    return Quantiser(dtype, (largest / 127).float().expand(gallery.shape[1]).clone())
