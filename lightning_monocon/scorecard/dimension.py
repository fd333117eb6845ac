# SPDX-License-Identifier: Apache-2.0
"""The effective dimension and how sure it is: a delete-group jackknife over the rows of the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from torch import Tensor

from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.moments import Moments, merge_moments, moments
from lightning_monocon.functional.spectrum import variances_from_moments

VARIANCE = 0.99
"""Share of the variance that the effective dimension n99 explains."""

GROUPS = 10
"""Groups of rows that are left out in turn."""


def grouped_moments(rows: Tensor) -> list[Moments]:
    """Moments of unit rows in ten groups; each takes every tenth row, so that a sorted gallery is mixed."""
    return [moments(rows[start::GROUPS]) for start in range(min(GROUPS, len(rows)))]


def merged(groups: Sequence[Moments]) -> Moments:
    """Moments of all groups together."""
    return reduce(merge_moments, groups)


def dimension_interval(groups: Sequence[Moments]) -> tuple[float, float]:
    """The 95 % interval of n99 over other rows, as many, that might have been drawn instead.

    n99 moves in whole steps, which a jackknife cannot follow, so the spread is that of the fractional dimension theta,
    where the cumulative share, drawn as straight lines between whole k, crosses 99 %. With G groups, theta_g without
    group g, and their mean m, the variance is (G - 1)/G sum_g (theta_g - m)^2; the interval is n99 -+ t times its
    root, t with G - 1 degrees of freedom. It says nothing about larger samples: n99 grows with the rows.

    Args:
        groups: moments of at least two groups, as :func:`grouped_moments` gives them.
    """
    from scipy.stats import t  # half a second to import, and needed only here

    count = len(groups)
    variances = variances_from_moments(merged(groups))
    centre = float(components_for(variances, VARIANCE).nan_to_num(0.0))
    if centre == 0:  # all rows are equal
        return 0.0, 0.0
    without = [_fractional(merged([*groups[:g], *groups[g + 1 :]])) for g in range(count)]
    reach = float(t.ppf(0.975, count - 1)) * float(np.sqrt((count - 1) * np.var(without)))
    return max(1.0, centre - reach), min(float(len(variances)), centre + reach)


def _fractional(statistics: Moments) -> float:
    """Where the cumulative share of the variance crosses 99 %, between whole numbers of components."""
    values = variances_from_moments(statistics).nan_to_num(0.0).numpy()
    total = values.sum()
    if not total > 0:
        return 0.0
    return float(np.interp(VARIANCE, np.append(0.0, values.cumsum() / total), np.arange(len(values) + 1)))
