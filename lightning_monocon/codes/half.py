# SPDX-License-Identifier: Apache-2.0
"""Store each number of a vector as float16, two bytes with the low byte first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class HalfQuantiser:
    """Round coordinates to float16.

    Attributes:
        width: Numbers of a vector.
    """

    kind: ClassVar[str] = "half"
    width: int

    @property
    def bytes(self) -> int:
        """Bytes of one code."""
        return 2 * self.width

    def encode(self, coordinates: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of coordinates ``(N, k)`` float64; what is too large becomes 65 504.

        Coordinates are rounded to float32 first, as every library can, and then to float16. Adding zero makes minus
        zero plus zero: the sign of an exact zero depends on the order of a sum.
        """
        most = torch.finfo(torch.float16).max
        return (coordinates + 0.0).clamp(-most, most).float().half().contiguous().view(torch.uint8)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the coordinates ``(N, k)`` float32 that codes ``(N, bytes)`` uint8 stand for."""
        return codes.clone(memory_format=torch.contiguous_format).view(torch.float16).float()

    def description(self) -> Mapping[str, Any]:
        """Return what is not a tensor, as plain values for JSON."""
        return {"width": self.width}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tables: none."""
        return {}
