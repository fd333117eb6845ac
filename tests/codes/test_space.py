# SPDX-License-Identifier: Apache-2.0
"""How far the order of a sum moves a coordinate, against exact sums."""

from __future__ import annotations

from fractions import Fraction
from math import fsum

import pytest
import torch

from lightning_monocon.codes import Space

DIM = 4096


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_coordinates_are_within_the_stated_bound_of_exact_ones(similarity: str) -> None:
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(DIM, 2, generator=generator, dtype=torch.float64))
    space = Space(torch.full((DIM,), 0.01), basis.T.float().contiguous(), similarity)
    rows = torch.randn(5, DIM, generator=generator) + 1.0
    for row, found in zip(rows.tolist(), space.coordinates(rows).tolist(), strict=True):
        length = fsum(number * number for number in row) ** 0.5
        scale = length if similarity == "cosine" else 1.0
        for weights, offset, coordinate in zip(space.matrix.tolist(), space.offset.tolist(), found, strict=True):
            exact = sum(Fraction(weight) * Fraction(number) for weight, number in zip(weights, row, strict=True))
            bound = 2.0**-40 * (length / scale + float(space.mean.norm()))
            assert abs(exact / Fraction(scale) - Fraction(offset) - Fraction(coordinate)) < bound
