# SPDX-License-Identifier: Apache-2.0
"""Turn exported vectors into codes of 8 bits or one bit a number, calibrated on the gallery.

Multiply int8 codes by the steps before taking inner products, or multiply the query by the steps once and leave the
stored codes as they are. Compare binary codes by Hamming distance; sentence-transformers (``precision="ubinary"``)
packs its bits alike, while FAISS and sqlite-vec pack their own from the lowest: pack gallery and queries alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lightning_monocon.functional.quantisation import Quantiser, Storage, fit_quantiser


@dataclass(frozen=True, eq=False)
class Calibration(Quantiser):
    """Quantise the vectors of an export as the scorecard does, with steps that are shipped in its files.

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

    def tensors(self) -> dict[str, Tensor]:
        """Return what has to be stored: the steps of int8; nothing for the other storage types."""
        return {"calibration.step": self.step} if self.storage == "int8" else {}
