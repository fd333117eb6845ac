# SPDX-License-Identifier: Apache-2.0
"""How sure the effective dimension is: a delete-group jackknife over the rows of the gallery."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.jackknife import jackknife_interval
from lightning_monocon.functional.moments import Moments, merge_all
from lightning_monocon.functional.spectrum import variances_from_moments

VARIANCE = 0.99
"""Share of the variance that the effective dimension n99 explains."""

GROUPS = 10
"""Groups of rows that are left out in turn; each takes every tenth row, so that a sorted gallery is mixed."""

_CONFIDENCE = 0.95


def dimension_interval(groups: Sequence[Moments]) -> tuple[float, float]:
    """The 95 % interval of n99 over other rows, as many, that might have been drawn instead.

    n99 moves in whole steps, which a jackknife cannot follow, so the reach is that of the fractional dimension, where
    the cumulative share, drawn as straight lines between whole k, crosses 99 %. It says nothing about larger samples:
    n99 grows with the rows.

    Args:
        groups: moments of at least two groups of unit rows.
    """
    variances = variances_from_moments(merge_all(groups))
    centre = float(components_for(variances, VARIANCE).nan_to_num(0.0))
    if centre == 0:  # all rows are equal
        return 0.0, 0.0
    _, low, high = jackknife_interval(groups, _fractional, _CONFIDENCE)
    reach = float(high - low) / 2
    return max(1.0, centre - reach), min(float(len(variances)), centre + reach)


def _fractional(statistics: Moments) -> Tensor:
    """Where the cumulative share of the variance crosses 99 %, between whole numbers of components."""
    share = torch.nn.functional.pad(variances_from_moments(statistics).nan_to_num(0.0).cumsum(0), (1, 0))
    share = share / share[-1].clamp_min(torch.finfo(share.dtype).tiny)
    above = int(torch.searchsorted(share, VARIANCE).clamp(1, len(share) - 1))
    below = share[above - 1]
    step = (share[above] - below).clamp_min(torch.finfo(share.dtype).tiny)
    return above - 1 + (VARIANCE - below) / step
