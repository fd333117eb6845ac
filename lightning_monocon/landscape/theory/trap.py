# SPDX-License-Identifier: Apache-2.0
"""Simulate and fit the trap model (section 4.1 of the paper): fallibility as the inverse of the barriers crossed.

    waiting times   psi(tau) = mu tau0^mu tau^-(1 + mu)      (Pareto; eq. 5)
    fallibility     F(t) = 1 / N_b(t),  N_b barriers crossed by time t,   F ~ t^-min(mu, 1)    (eq. 6)

One run gives mu with a deviation of 0.1 to 0.2, so exponents are pooled over at least ten runs by averaging log F; the
arithmetic mean of F is biased. A straight line through the averages is biased as well: barriers are counted from one
on, and a run with small mu crosses few, so that the first of them flatten the line (0.1 comes back as 0.08, 0.3 as
0.26). The fit therefore bends at its start,

    log F = a - log(1 + (t / s)^mu)

which leaves a bias of at most 0.02 below mu = 0.7 and of 0.05 at 0.9, where mu approaches the exponent's ceiling of 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import optimize

from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory.estimate import Estimate, jackknife, least_squares_slope, refuse

MIN_RUNS = 10
STEEPEST = 1.25


def simulate_traps(mu: float, times: npt.ArrayLike, runs: int, rng: np.random.Generator) -> Floats:
    """Simulate the fallibilities ``(runs, T)`` of traps with exponent ``mu`` and tau0 = 1 at increasing ``times``."""
    if mu <= 0:
        raise ValueError(f"`mu` must be positive, got {mu}.")
    moments = np.asarray(times, dtype=np.float64)
    return np.stack([1.0 / (_crossings(mu, moments, rng) + 1.0) for _ in range(runs)])


def pooled_exponent(times: npt.ArrayLike, fallibility: npt.ArrayLike) -> Estimate:
    """Fit the exponent mu of F ~ t^-mu to ``(R, T)`` fallibilities of R runs at ``(T,)`` common times.

    The error is the jackknife's over the runs. The exponent is refused below 10 runs, and if the fit misses an average
    by more than a tenth of the fall of log F and two standard errors of that average or is too steep for traps.
    """
    moments, curves = np.asarray(times, dtype=np.float64), np.atleast_2d(np.asarray(fallibility, dtype=np.float64))
    if len(curves) < MIN_RUNS:
        return refuse(f"it takes {MIN_RUNS} runs, as one gives mu with a deviation of 0.1 to 0.2; got {len(curves)}")
    logs, log_times = np.log(curves), np.log(moments)
    average = logs.mean(axis=0)
    found = _bent(log_times, average, _starts(log_times, average))
    chance = 2 * logs.std(axis=0, ddof=1) / len(logs) ** 0.5
    missed = float((np.abs(found.fun) - chance).max())
    if missed > 0.1 * np.ptp(average):
        return refuse(f"not a power law: log F lies {missed:.2f} off any fit, and falls by {np.ptp(average):.2f}")
    if found.x[2] > STEEPEST:
        return refuse(f"no traps: fallibility falls with the exponent {found.x[2]:.2f}, and that of traps is at most 1")
    error = jackknife(lambda some: _bent(log_times, some.mean(axis=0), [found.x]).x[2:], logs)
    return Estimate(float(found.x[2]), float(error[0]), freedom=len(curves) - 1)


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


def _starts(log_times: Floats, average: Floats) -> list[Floats]:
    slope = -least_squares_slope(log_times, average)[0]
    return [np.array([average[0], bend, slope]) for bend in (log_times[0], log_times.mean())]


def _bent(log_times: Floats, average: Floats, starts: list[Floats]) -> optimize.OptimizeResult:
    """Fit ``(a, log s, mu)`` by least squares from each of the starts, and return the best fit."""

    def residual(parameters: Floats) -> Floats:
        level, bend, mu = parameters
        found: Floats = level - np.logaddexp(0, mu * (log_times - bend)) - average
        return found

    return min((optimize.least_squares(residual, start) for start in starts), key=lambda fit: float(fit.cost))
