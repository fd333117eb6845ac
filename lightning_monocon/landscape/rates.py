# SPDX-License-Identifier: Apache-2.0
"""Estimate transition rates with the wide intervals of few events.

A rate is N / T for N exits in a dwell of T steps. Garwood's interval (1936) is exact for a Poisson count,

    [chi2_{a/2}(2N) / 2T,  chi2_{1-a/2}(2N + 2) / 2T],

and spans a factor of 220 at N = 1, so a single run shows the interval and never a bare rate. The occupied state is
censored: N = 0 gives an upper bound of 3.69 / T at 95 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from lightning_monocon.landscape.strata import Floats


class Interval(NamedTuple):
    """Hold an estimate, such as a rate or a share, between the bounds of its interval."""

    low: float
    estimate: float
    high: float


def garwood_interval(count: int, exposure: float, level: float = 0.95) -> Interval:
    """Return the rate of a Poisson process with ``count`` events in ``exposure`` steps, with its interval.

    Example:
        >>> low, estimate, high = garwood_interval(0, 1000.0)
        >>> low, estimate, round(high * 1000, 2)
        (0.0, 0.0, 3.69)

    Raises:
        ValueError: If the count is negative, the exposure not positive or the level not between 0 and 1.
    """
    if count < 0 or exposure <= 0 or not 0 < level < 1:
        raise ValueError(
            f"`count` must be >= 0, `exposure` > 0 and `level` between 0 and 1; got {count}, {exposure} and {level}."
        )
    tail = (1 - level) / 2
    low = float(stats.chi2.ppf(tail, 2 * count)) / (2 * exposure) if count else 0.0
    high = float(stats.chi2.ppf(1 - tail, 2 * count + 2)) / (2 * exposure)
    return Interval(low, count / exposure, high)


def jump_probabilities(counts: Floats) -> Floats:
    """Return the mean of the Dirichlet(1/2) posterior of ``(K,)`` exit counts from one state to K others."""
    posterior: Floats = np.asarray(counts, dtype=np.float64) + 0.5
    probabilities: Floats = posterior / posterior.sum()
    return probabilities
