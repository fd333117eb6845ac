# SPDX-License-Identifier: Apache-2.0
"""Multiply tiles of pairs by rows, by oneDNN on a CPU where it was measured to be faster than torch."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.kernels.supcon.tiles import SMALLEST_PRODUCT, multiplies_by_onednn, onednn_product


class ColumnSums:
    """Add ``tile.T @ rows`` of many tiles to the rows that belong to their columns.

    torch multiplies a transposed tile as it lies. oneDNN would copy it first: where it multiplies, the sums are kept
    transposed, and rows are copied instead, of which there are fewer numbers.

    Args:
        out: ``(N, D)``, to which the sums are added.
    """

    def __init__(self, out: Tensor) -> None:
        self._out = out
        self._apart = multiplies_by_onednn(out, SMALLEST_PRODUCT)
        self._across = torch.zeros_like(out.T, memory_format=torch.contiguous_format) if self._apart else out.T

    def add(self, columns: slice, tile: Tensor, rows: Tensor) -> None:
        """Add the product of a tile ``(m, n)`` and its rows ``(m, D)`` to n columns."""
        add_product(self._across[:, columns], rows.T.contiguous() if self._apart else rows.T, tile)

    def finish(self) -> Tensor:
        """Return ``out`` with all sums."""
        # torch copies a transpose in blocks, and adds it by single numbers
        return self._out.add_(self._across.T.contiguous()) if self._apart else self._out


def add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `dense_product` to ``out``, in one call where that is possible."""
    if multiplies_by_onednn(left, left.shape[0] * left.shape[1] * right.shape[1]):
        out.add_(onednn_product(left, right.T))
    else:
        out.addmm_(left, right)


def dense_product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right``; for oneDNN both must be dense, or it is a thousand times slower."""
    if multiplies_by_onednn(left, left.shape[0] * left.shape[1] * right.shape[1]):
        return onednn_product(left, right.T)
    return left @ right
