# SPDX-License-Identifier: Apache-2.0
"""State what a quantiser is: coordinates to bytes and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor


class Quantiser(Protocol):
    """Turn coordinates into bytes and bytes into coordinates.

    Attributes:
        kind: Name of the layout in a codec's file.
    """

    kind: ClassVar[str]

    @property
    def bytes(self) -> int:
        """Bytes of one code."""
        ...

    def encode(self, coordinates: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of coordinates ``(N, k)`` float64."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Return the coordinates ``(N, k)`` float32 that codes ``(N, bytes)`` uint8 stand for."""
        ...

    def description(self) -> Mapping[str, Any]:
        """Return what is not a tensor, as plain values for JSON."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tables, by name."""
        ...
