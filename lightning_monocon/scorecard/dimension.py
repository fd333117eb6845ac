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

    With G groups, n99 without group g as theta_g, and their mean m, the variance is (G - 1)/G sum_g (theta_g - m)^2
    and the interval is n99 -+ t times its root, t with G - 1 degrees of freedom. n99 is a whole number, so an
    interval of no width means that no tenth of the rows moves it. It says nothing about larger samples: n99 grows.

    Args:
        groups: moments of at least two groups, as :func:`grouped_moments` gives them.
    """
    from scipy.stats import t  # half a second to import, and needed only here

    count = len(groups)
    centre = _n99(merged(groups))
    without = [_n99(merged([*groups[:g], *groups[g + 1 :]])) for g in range(count)]
    reach = float(t.ppf(0.975, count - 1)) * float(np.sqrt((count - 1) * np.var(without)))
    return centre - reach, centre + reach


def _n99(statistics: Moments) -> float:
    return float(components_for(variances_from_moments(statistics), VARIANCE).nan_to_num(0.0))
