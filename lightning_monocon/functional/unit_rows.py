# SPDX-License-Identifier: Apache-2.0
r"""Bring rows to unit length whatever their magnitude.

The sum of squares of a row overflows float32 from a length of about 1e19 on and float64 from 1e154 on, and vanishes
below the inverses: divided by such a length, rows silently become zeros. So each row is first multiplied by the power
of two that brings its largest number near 1. That is exact, and cancels: rows of ordinary length become the same unit
rows, bit for bit, as without it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

_BITS = {
    torch.float32: (torch.int32, 0x7F80_0000, 0x3F80_0000),
    torch.float64: (torch.int64, 0x7FF0_0000_0000_0000, 0x3FF0_0000_0000_0000),
}
"""Integers of the width of a number, the bits that hold its exponent, and those of 1."""

_ORDINARY = {torch.float32: 2.0**40, torch.float64: 2.0**400}
"""Magnitude up to which, and down to whose inverse, squares and their sums keep all digits."""


def binary_scale(rows: Tensor, dim: int = 1) -> Tensor:
    """Return for each row a power of two that brings its largest magnitude to 1 ... 2, of size 1 along ``dim``.

    It is a constant to autograd. Rows of zeros, and rows that hold no normal number of their dtype, get 1.
    """
    rows = rows.detach()
    peak = torch.maximum(rows.amax(dim, keepdim=True), -rows.amin(dim, keepdim=True))
    integers, exponent, one = _BITS[peak.dtype]
    power = peak.view(integers) & exponent
    # exponents are biased, so twice that of 1 less that of a power gives its inverse; a subnormal one is avoided
    inverse = (2 * one - power).clamp_min(exponent & -exponent)
    return torch.where(power == 0, one, inverse).view(peak.dtype)


def unit_rows_(rows: Tensor) -> Tensor:
    """Divide float32 or float64 rows ``(N, D)`` by their lengths, in place; a row of zeros stays zero."""
    rows.mul_(binary_scale(rows))
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows.div_(length.masked_fill(length == 0, 1.0))


def unit_rows(rows: Tensor) -> Tensor:
    """Return float32 or float64 rows ``(N, D)`` divided by their lengths; a row of zeros stays zero.

    Example:
        >>> unit_rows(torch.tensor([[3e30, 4e30], [0.0, 0.0], [0.0, -2e-30]]))
        tensor([[ 0.6000,  0.8000],
                [ 0.0000,  0.0000],
                [ 0.0000, -1.0000]])
    """
    return unit_rows_(rows.clone())


def directions(rows: Tensor) -> Tensor:
    """Return rows ``(N, D)`` divided by their lengths, with gradients, in float32 or, of float64 rows, float64.

    In float16 `torch.nn.functional.normalize` makes NaN of a row of zeros, since the least length vanishes there.

    Example:
        >>> directions(torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float16))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)))


def tame_rows(rows: Tensor) -> Tensor:
    """Return the rows ``(N, D)``, multiplied by their `binary_scale` if squares of one could leave the dtype's range.

    For whatever asks for directions only. Other dtypes than float32 and float64 are returned as they are.
    """
    if rows.dtype not in _ORDINARY or not len(rows):
        return rows
    peak = torch.maximum(rows.amax(1), -rows.amin(1))
    most = _ORDINARY[rows.dtype]
    if ((peak <= most) & ((peak >= 1 / most) | (peak == 0))).all():
        return rows
    return rows * binary_scale(rows)


def float32_directions(rows: Tensor) -> Tensor:
    """Return rows ``(N, D)`` of any floating dtype as float32, for whatever asks for directions only.

    Float64 rows that float32 cannot hold, or not with all its digits, are multiplied by their `binary_scale` first.

    Example:
        >>> float32_directions(torch.tensor([[2e300, 0.0], [3.0, 0.0]], dtype=torch.float64))[1]
        tensor([3., 0.])
    """
    if rows.dtype != torch.float64:
        return rows.float()
    scale, most = binary_scale(rows), _ORDINARY[torch.float32]
    return (rows * scale.masked_fill((scale <= most) & (scale >= 1 / most), 1.0)).float()
