# SPDX-License-Identifier: Apache-2.0
"""Compute log-sum-exps over pairs of rows, and the gradient's products, in one small buffer instead of N x N.

Logits are ``s_ij = z_i . z_j / T``. The anchors are the rows ``start : start + M``. If they are all rows, only the
tiles on and above the diagonal are visited, and each serves its rows and, transposed, its columns. On a CPU where
oneDNN's float32 product was measured to be faster than torch's and as accurate, oneDNN multiplies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.onednn import pointwise
from lightning_monocon.kernels.monotone_linear.onednn import is_faster

# float32 holds exp(+-40) times a million rows, and the reciprocal, without leaving the normal range
EXPONENT_LIMIT = 40.0
LOG2_E = math.log2(math.e)
"""Factor of logits whose exponential is taken to base 2: exp2 is up to four times faster than exp on a CPU."""
SMALLEST_PRODUCT = 2**22
"""Multiplications in a tile below which oneDNN is not faster."""


class PairTiles(NamedTuple):
    """Iterate over the pairs of anchors and rows, tile by tile."""

    anchors: Tensor
    """``(M, D)``."""
    rows: Tensor
    """``(N, D)``."""
    start: int
    """Index of the first anchor among the rows; N if the anchors are another set."""
    temperature: Tensor
    """T, 0-d."""
    ignored: Tensor | None
    """``(N,)`` bool, the rows in no pair; ``(N + M,)``, the rows and then the anchors, if those are another set."""
    block_size: int
    """Side of a tile."""
    bounded: bool
    """Whether ``|s_ij| <= EXPONENT_LIMIT`` is known, so that one exponential per pair suffices, without a shift."""

    @property
    def symmetric(self) -> bool:
        """Return whether every row is an anchor."""
        return self.start == 0 and len(self.anchors) == len(self.rows)

    @property
    def by_onednn(self) -> bool:
        """Return whether oneDNN multiplies."""
        shape = min(self.block_size, len(self.anchors)) * min(self.block_size, len(self.rows)) * self.rows.shape[1]
        return multiplies_by_onednn(self.rows, shape)

    def add_product(self, out: Tensor, left: Tensor, right: Tensor) -> None:
        """Add ``left @ right`` to `out`."""
        if self.by_onednn:
            out.add_(onednn_product(left, right.T))
        else:
            out.addmm_(left, right)

    def __call__(self) -> Iterator[tuple[slice, slice, bool, Tensor]]:
        """Yield the rows and columns of a tile, whether it also stands for its transpose, and its logits.

        Bounded ones are those of base 2, times log2 e. Pairs that do not count hold -inf. The caller may overwrite a
        tile; the next one reuses its memory.
        """
        block = self.block_size
        by_onednn = self.by_onednn
        scale = (LOG2_E if self.bounded else 1.0) / self.temperature
        buffer = self.anchors.new_empty(0 if by_onednn else min(block, len(self.anchors)) * min(block, len(self.rows)))
        for i in range(0, len(self.anchors), block):
            left = self.anchors[i : i + block] * scale
            for j in range(i if self.symmetric else 0, len(self.rows), block):
                right = self.rows[j : j + block]
                if by_onednn:
                    tile = onednn_product(left, right)
                else:
                    tile = buffer[: len(left) * len(right)].view(len(left), len(right))
                    torch.mm(left, right.T, out=tile)
                self._mask(tile, i + self.start, j)
                yield slice(i, i + len(left)), slice(j, j + len(right)), self.symmetric and j > i, tile

    def _mask(self, tile: Tensor, first_row: int, first_column: int) -> None:
        tile.diagonal(first_row - first_column).fill_(-math.inf)  # a row is not its own contrast
        if self.ignored is not None:
            tile.masked_fill_(self.ignored[first_row : first_row + tile.shape[0], None], -math.inf)
            tile.masked_fill_(self.ignored[first_column : first_column + tile.shape[1]], -math.inf)


def denominators(pairs: PairTiles) -> Tensor:
    """Return ``S_i = sum_{j != i} exp s_ij`` of shape ``(M,)`` if the logits are bounded, else ``log S_i``."""
    total = pairs.anchors.new_full((len(pairs.anchors),), 0.0 if pairs.bounded else -math.inf)
    for rows, columns, mirrored, tile in pairs():
        sides = ((rows, 1), (columns, 0)) if mirrored else ((rows, 1),)
        if pairs.bounded:
            tile.exp2_()
        for part, dim in sides:
            if pairs.bounded:
                total[part] += tile.sum(dim)
            else:
                total[part] = torch.logaddexp(total[part], tile.logsumexp(dim))
    return total


def repulsion(pairs: PairTiles, scale: Tensor) -> Tensor:
    """Return ``sum_{j != i} A_ij z_j`` of shape ``(M, D)``.

    Args:
        pairs: The tiles.
        scale: ``(N,)``, a with ``A_ij = exp(s_ij) (a_i + a_j)`` if the logits are bounded, else b with
            ``A_ij = exp(s_ij - b_i) + exp(s_ij - b_j)``; 0 or +inf for a row that counts only as contrast.
    """
    own = scale[pairs.start : pairs.start + len(pairs.anchors)].unsqueeze(1)
    out = torch.zeros_like(pairs.anchors)
    for rows, columns, mirrored, tile in pairs():
        if pairs.bounded:
            tile.exp2_().mul_(own[rows] + scale[columns])
        else:
            as_contrast = (tile - scale[columns]).exp_()
            tile.sub_(own[rows]).exp_().add_(as_contrast)
        pairs.add_product(out[rows], tile, pairs.rows[columns])
        if mirrored:
            pairs.add_product(out[columns], tile.T, pairs.anchors[rows])
    return out


def multiplies_by_onednn(rows: Tensor, multiplications: int) -> bool:
    """Return whether oneDNN is faster for a product of this size."""
    if not rows.is_cpu or rows.dtype != torch.float32 or multiplications < SMALLEST_PRODUCT:
        return False
    return is_faster()


def onednn_product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right.T``."""
    return pointwise(left, right)
