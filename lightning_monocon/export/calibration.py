# SPDX-License-Identifier: Apache-2.0
"""Turn exported vectors into what is stored: numbers of 8 bits or one bit, or a code fitted on the gallery.

int8 codes have one step, so a store that ranks the codes as they are ranks as the vectors do. Compare binary codes by
Hamming distance; sentence-transformers (``precision="ubinary"``) packs its bits alike, while FAISS and sqlite-vec pack
their own from the lowest: pack gallery and queries alike. Of a code only the gallery is stored: queries stay float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from lightning_monocon.codes import Codec
from lightning_monocon.functional.neighbours import DistanceName
from lightning_monocon.functional.quantisation import Quantiser, Storage, fit_quantiser


@dataclass(frozen=True, eq=False)
class Calibration(Quantiser):
    """Quantise the vectors of an export as the scorecard does, with a step that is shipped in its files.

    Attributes:
        storage: Storage type of a number.
        step: ``(k,)`` float32 width of one int8 step; ones for the other storage types.
        rows: Rows of the gallery that it was calibrated on.
    """

    rows: int

    @classmethod
    def fit(cls, gallery: Tensor, dtype: Storage) -> Calibration:
        """Calibrate on exported vectors ``(N, k)`` of the gallery."""
        return cls(dtype, fit_quantiser(gallery, dtype).step, len(gallery))

    def queries(self, vectors: Tensor) -> Tensor:
        """Return what queries ``(Q, k)`` are compared as: they are rounded like the gallery."""
        return self.decode(self.codes(vectors))

    def tensors(self) -> dict[str, Tensor]:
        """Return what has to be stored: the steps of int8; nothing for the other storage types."""
        return {"calibration.step": self.step} if self.storage == "int8" else {}


@dataclass(frozen=True, eq=False)
class Coded:
    """Store the vectors of an export as the codes of a codec.

    Attributes:
        codec: Fitted on the vectors of the gallery.
        rows: Rows of the gallery that it was fitted on.
    """

    codec: Codec
    rows: int

    @property
    def storage(self) -> str:
        """Name of the code, such as ``"transform-32"``."""
        return self.codec.name

    @property
    def bytes(self) -> int:
        """Bytes of one stored vector."""
        return self.codec.bytes_per_vector

    @property
    def metric(self) -> DistanceName:
        """Distance that ranks decoded vectors."""
        return "cosine"

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of vectors ``(N, D)``."""
        return self.codec.encode(vectors)

    def decode(self, codes: Tensor) -> Tensor:
        """Return float32 rows ``(N, D')`` whose inner products with `queries` are the scores."""
        return self.codec.decode(codes)

    def queries(self, vectors: Tensor) -> Tensor:
        """Return what queries ``(Q, D)`` are compared as, ``(Q, D')`` float32, not rounded."""
        return self.codec.space.queries(vectors)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tables of the codec."""
        return dict(self.codec.tensors())


Stored: TypeAlias = Calibration | Coded
"""What makes stored codes of exported vectors."""
