# SPDX-License-Identifier: Apache-2.0
"""Small codes for vectors: 8 bits or one bit a number, calibrated on the gallery.

``int8``: number j is divided by its own step, a 127th of its largest magnitude in the gallery, rounded and clipped.
Multiply codes by the steps before taking inner products, or multiply the query by the steps once and leave the stored
codes as they are. ``binary``: bit j is set where number j is positive; eight to a byte, the first in the highest bit,
as NumPy's ``packbits`` and sentence-transformers (``precision="ubinary"``) have it; compare by Hamming distance. FAISS
and sqlite-vec pack their own bits from the lowest: pack gallery and queries alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_monocon.functional.quantisation import Rounding, Storage, vector_bytes

_BYTE = 8


@dataclass(frozen=True, eq=False)
class Calibration:
    """How vectors become codes.

    Attributes:
        storage: how a number is kept.
        step: ``(k,)`` float32 width of one int8 step; ones for the others.
        rows: rows of the gallery that it was calibrated on.
    """

    storage: Storage
    step: Tensor = field(repr=False)
    rows: int

    @classmethod
    def fit(cls, gallery: Tensor, storage: Storage) -> Calibration:
        """Calibrate on exported vectors ``(N, k)`` of the gallery."""
        step = Rounding.fit(gallery, storage).step if storage == "int8" else torch.ones(gallery.shape[1])
        return cls(storage, step.float(), len(gallery))

    @property
    def bytes(self) -> int:
        """Bytes of one stored vector."""
        return vector_bytes(len(self.step), self.storage)

    def tensors(self) -> dict[str, Tensor]:
        """What has to be kept: the steps of int8; nothing for the others."""
        return {"calibration.step": self.step} if self.storage == "int8" else {}

    def codes(self, vectors: Tensor) -> Tensor:
        """What is stored of vectors ``(N, k)``: themselves, int8 ``(N, k)``, or bits in uint8 ``(N, ceil(k / 8))``."""
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
