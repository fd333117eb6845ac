# SPDX-License-Identifier: Apache-2.0
"""Measure how alike two series order their items, by Spearman's rank correlation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate


def spearman(first: Tensor, second: Tensor) -> Tensor:
    r"""Return the correlation of the ranks of two series, 0-d float64, in [-1, 1].

    Equal values share the mean of their ranks, as in `scipy.stats.spearmanr`, which computes it. NaN, with one
    warning, if a series is constant or has fewer than two values.

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
    if len(first) < 2 or any((values == values[0]).all() for values in (first, second)):
        warn_degenerate("A rank correlation needs two series of at least 2 values that are not all equal")
        return first.new_tensor(torch.nan, dtype=torch.float64)
    from scipy.stats import spearmanr  # slow to import, and few ask for it

    x, y = (values.detach().cpu().double().numpy() for values in (first, second))
    found: Any = spearmanr(x, y)
    return first.new_tensor(found.statistic, dtype=torch.float64)
