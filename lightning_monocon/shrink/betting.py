# SPDX-License-Identifier: Apache-2.0
r"""Show that a mean is larger than a number, by betting; valid for any distribution and any number of values.

Values :math:`x_1, \dots, x_n` come in random order and are never below a floor. Before he sees each of them, a gambler
bets that their mean is larger than m, which multiplies his fortune of 1 by

.. math:: 1 + b_t (x_t - m),\qquad 0 \le b_t < 1 / (m - \text{floor}),

where the bet :math:`b_t` depends on earlier values alone. If the mean is at most m, his fortune is a supermartingale of
positive numbers, and reaches 1 / error with a chance of at most that error (Ville's inequality). So once it does, the
mean is larger than m with that confidence (Waudby-Smith and Ramdas 2024).

The bets decide only how often he succeeds. Those used here aim at what is missing to 1 / error with what is left of the
values (Voracek and Orabona 2025).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_STEP = 0.001
_BOLDEST = 0.95
"""Share of the largest bet that no value can ruin."""

_PRIOR = 0.25
"""Largest variance of values in [0, 1], which one imaginary value before the first has."""

Array = NDArray[np.float64]


def mean_low(values: Array, error: float) -> float:
    """Return a number that the mean of what values ``(U,)`` in [0, 1] are drawn from exceeds but for that error."""
    means = np.arange(0.0, 1.0, _STEP)
    shown = exceeds(values[:, None], means, 0.0, error)
    # the largest number such that all smaller ones are refuted too
    refuted = int(np.cumprod(shown).sum())
    return float(means[refuted - 1]) if refuted else 0.0


def exceeds(values: Array, means: Array, floor: float, error: float) -> NDArray[np.bool_]:
    """Return where the mean is shown to be larger.

    Args:
        values: ``(U, M)`` or ``(U, 1)``, in random order.
        means: ``(M,)``, at least ``floor``.
        floor: No value is smaller.
        error: Chance of each of the M to be shown although it is not so, at most.

    Returns:
        ``(M,)``.
    """
    goal = -math.log(error)
    boldest = _BOLDEST / np.maximum(means - floor, _STEP)
    fortune, total, squares = (np.zeros(len(means)) for _ in range(3))
    variance = np.full(len(means), _PRIOR)
    for step, row in enumerate(values):
        missing = np.maximum(goal - fortune, 0.0)  # nothing: he has won, and bets no more
        bet = np.minimum(np.sqrt(2 * missing / ((len(values) - step) * variance)), boldest)
        gain = row - means
        fortune = fortune + np.log1p(bet * gain)
        total = total + gain
        squares = squares + (gain - total / (step + 2)) ** 2
        variance = (_PRIOR + squares) / (step + 2)
    return np.asarray(fortune >= goal - _ROUNDING)


_ROUNDING = 1e-9
"""A fortune that has reached the goal may be a rounding below it; the error grows by as much."""
