# SPDX-License-Identifier: Apache-2.0
"""Spearman's rank correlation, ties included."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate


def spearman(first: Tensor, second: Tensor) -> Tensor:
    r"""Return the correlation of the ranks of two series, 0-d float64, in [-1, 1].

    Equal values share the mean of their ranks, as in `scipy.stats.spearmanr`. NaN and one warning where a series is
    constant or shorter than two.

    Args:
        first: ``(N,)``, finite.
        second: ``(N,)``, finite.

    Raises:
        ValueError: If the shapes differ, are not ``(N,)``, or a value is not finite.

    Example:
        >>> spearman(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.1, 0.3, 0.2]))
        tensor(0.5000, dtype=torch.float64)
    """
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"`first` and `second` must be (N,) alike; got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    for name, values in (("first", first), ("second", second)):
        if not torch.isfinite(values).all():
            raise ValueError(f"`{name}` must be finite; {int((~torch.isfinite(values)).sum())} values are not.")
    x, y = (_ranks(values) for values in (first, second))
    x, y = x - x.mean(), y - y.mean()
    scale = (x.square().sum() * y.square().sum()).sqrt()
    if len(x) < 2 or scale == 0:
        warn_degenerate("A rank correlation needs two series of at least 2 values that are not all equal")
        return x.new_tensor(torch.nan)
    return (x * y).sum() / scale


def _ranks(values: Tensor) -> Tensor:
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: Tensor = (last - (counts - 1) / 2)[place]
    return ranks
