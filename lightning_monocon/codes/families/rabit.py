# SPDX-License-Identifier: Apache-2.0
"""Fit RaBitQ: principal components in a random rotation, their direction on a grid, and a factor."""

from __future__ import annotations

import torch

from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.fitting import FittingRows, check_size, check_varying
from lightning_monocon.codes.rabit import FACTOR_BYTES, RabitQuantiser
from lightning_monocon.codes.space import Scoring, Space
from lightning_monocon.functional.spectrum import components_from_moments

_MOST_BITS = 8


def fit_rabit(rows: FittingRows, size: int, bits: int = 1, scoring: Scoring = "whole") -> Codec:
    """Fit RaBitQ of at most ``size`` bytes, four of which hold a vector's factor.

    Args:
        rows: What to fit on.
        size: Bytes of a code: it holds the first ``8 * (size - 4) // bits`` components, or as many as vary.
        bits: Bits of a component, from 1 to 8.
        scoring: What a score estimates.

    Raises:
        ValueError: If ``bits`` is not from 1 to 8, ``size`` is below 5, or all rows are equal.
    """
    check_size(size)
    if not 1 <= bits <= _MOST_BITS:
        raise ValueError(f"`bits` must be from 1 to {_MOST_BITS}; got {bits}.")
    if size <= FACTOR_BYTES:
        raise ValueError(f"`size` must be at least {FACTOR_BYTES + 1} bytes, as the factor takes 4; got {size}.")
    check_varying(rows)
    found = components_from_moments(rows.statistics)
    rounding = found.variances.amax() * torch.finfo(torch.float64).eps * rows.dim
    kept = min(8 * (size - FACTOR_BYTES) // bits, int((found.variances > rounding).sum()))
    noise = torch.randn(kept, kept, generator=torch.Generator().manual_seed(rows.seed), dtype=torch.float64)
    basis, triangle = torch.linalg.qr(noise)
    rotation = basis * triangle.diagonal().sign()  # makes it uniform (Mezzadri 2007)
    matrix = (rotation @ found.components[:kept].double()).float()
    quantiser = RabitQuantiser(kept, bits)
    space = Space(found.mean.float(), matrix, rows.similarity, scoring)
    return Codec(f"rabit{bits}-{quantiser.bytes}", "rabit", space, quantiser)
