# SPDX-License-Identifier: Apache-2.0
r"""Encode float32 rows with levels at the speed of a float32 product, with the bytes of the float64 definition.

A coordinate is computed in float32, with an error of at most

.. math:: \delta = (\tfrac32 D + 8)\, 2^{-24}\, (\lVert w\rVert + 2 |W m| + |t|)

for rows of D numbers: D roundings in the product, D / 2 in the length, and one each in the division, the offset, the
difference and the threshold t (Higham 2002, section 3.1). Only a coordinate within that of a threshold can get
another level, and such coordinates are computed again in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.space import Space
from lightning_monocon.functional.checks import finite_rows
from lightning_monocon.functional.unit_rows import unit_rows

_BLOCK = 4096
_LONGEST, _SHORTEST = 2.0**40, 2.0**-40  # squares of such lengths lose no digits in float32


def encode_levels(space: Space, quantiser: LevelQuantiser, rows: Tensor) -> Tensor:
    """Return the codes ``(N, bytes)`` uint8 of rows ``(N, D)``, byte for byte those of the float64 definition.

    A product may be rounded to fewer digits than float32 has on a GPU, or where the user allows it. There, and for
    float64 rows and ``similarity="dot"``, the definition itself encodes.

    Raises:
        ValueError: If a row is not finite.
    """
    otherwise = rows.device.type != "cpu" or torch.get_float32_matmul_precision() != "highest"
    if otherwise or rows.dtype == torch.float64 or space.similarity == "dot":
        finite_rows(rows, "error", "rows")
        return quantiser.encode(space.coordinates(rows))
    offset = space.offset.float()[:, None]
    margin = _error(space, quantiser)
    codes = torch.empty(len(rows), quantiser.bytes, dtype=torch.uint8)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK].float()
        length = torch.linalg.vector_norm(block, dim=1)
        coordinates = (space.matrix @ block.T).div_(length).sub_(offset)
        places, doubt = quantiser.places_and_doubts(coordinates, margin)
        unusual = ~((length >= _SHORTEST) & (length <= _LONGEST))  # NaN among them
        if unusual.any():
            finite_rows(block[unusual], "error", "rows")
            doubt |= unusual
        numbers, doubtful = doubt.nonzero().unbind(1)
        for first in range(0, len(numbers), _BLOCK):
            number, row = numbers[first : first + _BLOCK], doubtful[first : first + _BLOCK]
            exact = (unit_rows(block[row].double()) * space.matrix[number]).sum(1) - space.offset[number]
            places[number, row] = quantiser.places_of(number, exact)
        codes[start : start + _BLOCK] = quantiser.pack(places)
    return codes


def _error(space: Space, quantiser: LevelQuantiser) -> Tensor:
    """Return a bound ``(k,)`` float32 on the rounding of each coordinate and its thresholds."""
    lengths = torch.linalg.vector_norm(space.matrix.double(), dim=1)
    scale: Tensor = lengths + 2 * space.offset.abs() + quantiser.levels.double().abs().amax(1)
    return scale.mul((1.5 * space.matrix.shape[1] + 8) * 2.0**-24).float()
