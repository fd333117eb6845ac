# SPDX-License-Identifier: Apache-2.0
"""Measure how widely a head spreads a batch before training, to tell a good start from a collapsed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.effective_dimension import effective_dimension
from lightning_monocon.functional.mean_cosine import mean_cosine


class Spread(NamedTuple):
    """Hold figures of how a batch fills its space."""

    singular_ratio: float
    """Largest over second singular value of the rows as they are; infinite for one feature or one row."""
    effective_dimension: float
    """Principal components for 99 % of the variance of the L2-normalised, centred rows; NaN without variance."""
    mean_cosine: float
    """Mean cosine over pairs of different rows; near 1 the rows form a narrow cone."""


class InitReport(NamedTuple):
    """Hold the row sums of a head's effective weights, and the spread of a batch before and after the head."""

    row_sums: tuple[float, ...]
    """Mean row sum of the effective weight, one per layer; a row of positive weights averages its inputs."""
    input: Spread
    output: Spread


def init_report(x: Tensor, y: Tensor, effective_weights: Sequence[Tensor]) -> InitReport:
    """Return the report on a head that maps ``x`` (N, K) to ``y`` (N, D) with the given effective weights."""
    row_sums = tuple(float(weight.double().sum(dim=1).mean()) for weight in effective_weights)
    return InitReport(row_sums, spread(x), spread(y))


def spread(rows: Tensor) -> Spread:
    """Return how ``rows`` (N, D), N >= 2, fill their space; computed in float64, without a gradient.

    Raises:
        TypeError: If ``rows`` is not a floating-point tensor.
        ValueError: If the shape is wrong, there are fewer than two rows, or one is not finite.
    """
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"`x` must be (N, features) with N >= 2 rows; got shape {tuple(rows.shape)}.")
    dimension, cosine = float(effective_dimension(rows)), float(mean_cosine(rows))
    singular = torch.linalg.svdvals(rows.detach().double())
    ratio = float(singular[0] / singular[1]) if len(singular) > 1 else float("inf")
    return Spread(ratio, dimension, cosine)
