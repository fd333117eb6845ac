# SPDX-License-Identifier: Apache-2.0
"""Simulate and fit the trap model (section 4.1 of the paper): fallibility as the inverse of the barriers crossed.

    waiting times   psi(tau) = mu tau0^mu tau^-(1 + mu)      (Pareto; eq. 5)
    fallibility     F(t) = 1 / N_b(t),  N_b barriers crossed by time t,   F ~ t^-min(mu, 1)    (eq. 6)

One run gives mu with a deviation of 0.1 to 0.2, so exponents are pooled over at least ten runs by averaging log F; the
arithmetic mean of F is biased. Finite time biases large mu, too: 0.9 is estimated as 0.82.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory.estimate import Estimate, power_law, refuse

MIN_RUNS = 10


def simulate_traps(mu: float, times: npt.ArrayLike, runs: int, rng: np.random.Generator) -> Floats:
    """Simulate the fallibilities ``(runs, T)`` of traps with exponent ``mu`` and tau0 = 1 at increasing ``times``."""
    if mu <= 0:
        raise ValueError(f"`mu` must be positive, got {mu}.")
    moments = np.asarray(times, dtype=np.float64)
    return np.stack([1.0 / (_crossings(mu, moments, rng) + 1.0) for _ in range(runs)])


def pooled_exponent(times: npt.ArrayLike, fallibility: npt.ArrayLike) -> Estimate:
    """Fit the exponent mu of F ~ t^-mu to ``(R, T)`` fallibilities of R runs at ``(T,)`` common times.

    The error is the deviation of the slopes of single runs over the square root of their number. Below 10 runs the
    exponent is refused.
    """
    moments, curves = np.asarray(times, dtype=np.float64), np.atleast_2d(np.asarray(fallibility, dtype=np.float64))
    if len(curves) < MIN_RUNS:
        return refuse(f"it takes {MIN_RUNS} runs, as one gives mu with a deviation of 0.1 to 0.2; got {len(curves)}")
    logs = np.log(curves)
    pooled = power_law(moments, np.exp(logs.mean(axis=0)))
    centred = np.log(moments) - np.log(moments).mean()
    slopes = logs @ centred / (centred**2).sum()
    return pooled._replace(value=-pooled.value, error=float(slopes.std(ddof=1) / len(curves) ** 0.5))


def tail_exponent(waiting_times: npt.ArrayLike, share: float = 1.0) -> Estimate:
    """Return Hill's estimate of mu from the largest ``share`` of the waiting times, independent of F."""
    waits = np.sort(np.asarray(waiting_times, dtype=np.float64))[::-1]
    used = waits[: max(int(share * len(waits)), 1)]
    if len(used) < MIN_RUNS or used[-1] <= 0:
        return refuse(f"needs {MIN_RUNS} positive waiting times in the tail, got {len(used)}")
    mu = (len(used) - 1) / float(np.log(used / used[-1]).sum())
    return Estimate(mu, mu / len(used) ** 0.5)


def _crossings(mu: float, moments: Floats, rng: np.random.Generator) -> Floats:
    """Count the barriers crossed by each moment; waiting times are drawn until the last moment is passed."""
    elapsed, total = [np.zeros(0)], 0.0
    while total <= moments[-1]:
        arrivals = total + np.cumsum(rng.random(20_000) ** (-1 / mu))
        elapsed.append(arrivals)
        total = float(arrivals[-1])
    crossed: Floats = np.searchsorted(np.concatenate(elapsed), moments).astype(np.float64)
    return crossed
