# SPDX-License-Identifier: Apache-2.0
"""Bound means and quantiles from below and above, valid for any number of queries.

Means of values from 0 to 1 are tested by betting (Waudby-Smith and Ramdas 2024): a gambler who bets that the mean is
larger than m gets rich only if it is, because his fortune is a martingale under any smaller mean (Ville's inequality).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

_STEP = 0.001


def mean_low(values: Tensor, confidence: float) -> float:
    """Return a lower bound of the mean of values ``(U,)`` in [0, 1]; a normal one where values leave that range."""
    if float(values.min()) < 0 or float(values.max()) > 1:
        error = float(values.std()) / math.sqrt(len(values))
        return float(values.mean()) - NormalDist().inv_cdf(confidence) * error
    grid = torch.arange(0.0, 1.0, _STEP, dtype=torch.float64)
    passed = _is_rich(values[:, None] - grid, grid, confidence)
    # the largest m such that all smaller ones are refuted too
    refuted = int(passed.to(torch.int8).cumprod(0).sum())
    return float(grid[refuted - 1]) if refuted else 0.0


def keeps(code: Tensor, whole: Tensor, keep: float, confidence: float) -> bool:
    """Return whether the mean of ``code - keep * whole`` is shown to be at least 0; values ``(U,)``, one a query."""
    difference = code - keep * whole
    if float(torch.stack([code.min(), whole.min()]).min()) < 0 or float(torch.stack([code, whole]).max()) > 1:
        error = float(difference.std()) / math.sqrt(len(difference))
        return float(difference.mean()) >= NormalDist().inv_cdf(confidence) * error
    least = torch.tensor([keep], dtype=torch.float64)
    return bool(_is_rich(difference[:, None], least, confidence)[0])


def quantile_high(values: Tensor, probability: float, confidence: float) -> float | None:
    """Return an upper bound of a quantile of values ``(U,)``: an order statistic, exact by the binomial.

    Returns:
        None if even the largest value is none, because there are too few.
    """
    from scipy.stats import binom

    ranks = np.arange(1, len(values) + 1)
    enough = binom.cdf(ranks - 1, len(values), probability) >= confidence
    return float(values.sort().values[int(enough.argmax())]) if enough.any() else None


def _is_rich(values: Tensor, least: Tensor, confidence: float) -> Tensor:
    """Return where a gambler on values ``(U, M)``, which are at least ``-least``, gets rich, ``(M,)`` bool.

    His bets are those of the paper's section 3.2, for a known number of values; each knows only the values before it.
    """
    goal = -math.log(1 - confidence)
    count = torch.arange(1, len(values) + 1, dtype=torch.float64)[:, None]
    mean = (0.5 + values.cumsum(0)) / (count + 1)
    variance = (0.25 + ((values - mean) ** 2).cumsum(0)) / (count + 1)
    before = torch.cat([torch.full_like(variance[:1], 0.25), variance[:-1]])
    bet = torch.minimum((2 * goal / (len(values) * before)).sqrt(), 0.75 / least.clamp_min(_STEP))
    return torch.log1p(bet * values).cumsum(0).amax(0) >= goal
