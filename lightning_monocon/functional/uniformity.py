# SPDX-License-Identifier: Apache-2.0
"""Measure how evenly unit embeddings cover the sphere (Wang & Isola, ICML 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, finite_rows, warn_degenerate
from lightning_monocon.functional.moments import statistics_device
from lightning_monocon.functional.unit_rows import unit_rows_

_TILE = 1024


def unit_float64(embeddings: Tensor, name: str = "embeddings") -> Tensor:
    """Return the rows divided by their lengths, ``(N, D)`` float64; a row of zeros stays zero."""
    rows = check_embeddings(embeddings, name)
    finite_rows(rows, "error", name)
    return unit_rows_(rows.to(statistics_device(rows.device)).to(torch.float64, copy=True))


def check_temperature(t: float) -> None:
    """Raise ValueError unless ``t`` is positive."""
    if not t > 0:
        raise ValueError(f"`t` must be positive; got {t!r}.")


def uniformity(embeddings: Tensor, t: float = 2.0) -> Tensor:
    r"""Return how evenly unit rows cover the sphere, 0-d float64, at most 0; lower is more uniform.

    .. math::
        \log \frac{2}{N(N-1)}\sum_{i<j} e^{-t|u_i - u_j|^2}

    Wang & Isola (2020), over all pairs, in tiles: the matrix of pairs is never whole. 0 for equal rows.

    Args:
        embeddings: ``(N, D)``, any floating dtype; rows are divided by their lengths.
        t: The kernel's exponent.

    Raises:
        TypeError: If ``embeddings`` is not a floating-point tensor.
        ValueError: If the shape is wrong, a row is not finite, or ``t`` is not positive.

    Example:
        >>> uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        tensor(-8., dtype=torch.float64)
    """
    check_temperature(t)
    rows = unit_float64(embeddings)
    count = len(rows)
    if count < 2:
        warn_degenerate(f"Uniformity is of pairs and needs at least 2 rows, got {count}")
        return rows.new_tensor(torch.nan)
    square = rows.square().sum(dim=1)
    total = rows.new_zeros(())
    for start in range(0, count, _TILE):
        own = rows[start : start + _TILE]
        for other in range(start, count, _TILE):
            distance = (
                square[start : start + _TILE, None]
                + square[other : other + _TILE]
                - 2.0 * own @ rows[other : other + _TILE].T
            )
            kernel = torch.exp(-t * distance.clamp_min_(0.0))
            total = total + (kernel.triu(1).sum() if other == start else kernel.sum())
    return total.log() - math.log(count * (count - 1) / 2)
