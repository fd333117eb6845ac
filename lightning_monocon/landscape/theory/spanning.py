# SPDX-License-Identifier: Apache-2.0
"""Measure percolation over runs: the share that finds a path from memorising to generalising within a budget.

    Pi(D; T) = share of runs of size D that generalise within T steps

A run that ended early and had not generalised is censored there, not a failure: Pi is one minus the Kaplan-Meier curve.

The paper's threshold D_c would be the size at which Pi crosses one half *whatever the budget*. The budget-shift test is
therefore mandatory: if D_c(T) keeps falling as T grows, no threshold is shown, only a divergent time. And where the
sizes lie so far apart that a divergent time would not have moved it either, nothing is shown. An ensemble of seeds is
not a thermal ensemble, and a single run shows no percolation transition.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_monocon.landscape.rates import Interval
from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory.laws import DELAY_LAWS, fit_law

MIN_NODES = 30


class BudgetShift(NamedTuple):
    """Hold the result of the budget-shift test.

    Attributes:
        budgets: Budgets ``(B,)`` in steps.
        thresholds: Sizes ``(B,)`` at which the share crosses one half; NaN if it does not.
        expected: By how much the threshold would have fallen over the last doubling if only the time diverged.
        is_stable: Whether the threshold stands still over the last doubling of the budget.
        reason: The verdict in words; what is neither stable nor fallen is undecided.
    """

    budgets: Floats
    thresholds: Floats
    expected: float
    is_stable: bool
    reason: str


def wilson_interval(successes: int, runs: int, level: float = 0.95) -> Interval:
    """Return a share of runs with its Wilson interval.

    Example:
        >>> [round(v, 3) for v in wilson_interval(3, 3)]
        [0.439, 1.0, 1.0]

    Raises:
        ValueError: If there are no runs, or more successes than runs.
    """
    if runs < 1 or not 0 <= successes <= runs:
        raise ValueError(f"`successes` must lie between 0 and `runs` >= 1, got {successes} of {runs}.")
    return _wilson(successes / runs, runs, level)


def spanning_probability(
    sizes: npt.ArrayLike, times: npt.ArrayLike, budget: float, followed: npt.ArrayLike | None = None
) -> dict[float, Interval]:
    """Return the share of the runs of each size that generalise within ``budget`` steps, with its interval.

    Args:
        sizes: Size of each run ``(N,)``: number of training samples or parameters.
        times: Step of generalisation of each run ``(N,)``; NaN or infinite if it was not seen.
        budget: Number of steps.
        followed: Last step of each run ``(N,)``. A run that ended before the budget says nothing on the steps after
            it; where no run is left, the share is NaN. By default all runs were followed as long as the budget.

    Raises:
        ValueError: If there are no runs, or not one size and one time for each.
    """
    size, time = np.asarray(sizes, dtype=np.float64), np.asarray(times, dtype=np.float64)
    ends = np.full(time.shape, np.inf) if followed is None else np.asarray(followed, dtype=np.float64)
    if size.ndim != 1 or not size.shape == time.shape == ends.shape or not len(size):
        shapes = f"got shapes {size.shape}, {time.shape} and {ends.shape}"
        raise ValueError(f"`sizes`, `times` and `followed` must be (N,), one per run; {shapes}.")
    found = np.nan_to_num(time, nan=np.inf)
    return {float(s): _share(found[size == s], ends[size == s], budget) for s in np.unique(size)}


def budget_shift(
    sizes: npt.ArrayLike, times: npt.ArrayLike, budgets: npt.ArrayLike, followed: npt.ArrayLike | None = None
) -> BudgetShift:
    """Follow the size at which half the runs generalise as the budget grows.

    The threshold counts as stable if it moves by less than a tenth of the gap between neighbouring sizes over the last
    doubling of the budget, and if it would have moved by more than that gap under the power law of the times, which has
    no threshold.

    Args:
        sizes: Size of each run ``(N,)``.
        times: Step of generalisation of each run ``(N,)``; NaN or infinite if it was not seen.
        budgets: Increasing budgets ``(B,)``.
        followed: Last step of each run ``(N,)``; by default none ended before the largest budget.
    """
    limits = np.asarray(budgets, dtype=np.float64)
    shares = [spanning_probability(sizes, times, budget, followed) for budget in limits]
    known = np.array([size for size, share in shares[-1].items() if not math.isnan(share.estimate)])
    thresholds = np.array([_threshold(known, share) for share in shares])
    before = thresholds[limits <= limits[-1] / 2]
    if not len(before) or math.isnan(thresholds[-1]) or math.isnan(before[-1]):
        verdict = "the share does not cross one half at both ends of a doubling"
        return BudgetShift(limits, thresholds, math.nan, False, verdict)
    moved = float(before[-1] - thresholds[-1])
    gap = float(np.diff(known)[np.searchsorted(known, before[-1]) - 1])
    doublings = math.log2(limits[-1] / limits[limits <= limits[-1] / 2][-1])
    expected = float(before[-1]) * (1 - 2 ** (-doublings / _power(sizes, times, limits[-1], followed)))
    is_stable, verdict = _verdict(moved, gap, expected)
    return BudgetShift(limits, thresholds, expected, is_stable, verdict)


def binder_cumulant(order: npt.ArrayLike) -> float:
    """Return the Binder cumulant ``1 - <m^4> / (3 <m^2>^2)`` of an order parameter over ``(N,)`` runs."""
    m = np.asarray(order, dtype=np.float64)
    return float(1 - (m**4).mean() / (3 * (m**2).mean() ** 2))


def visited_percolation(graph: nx.DiGraph) -> tuple[float, str]:
    """Return the share of states in the largest undirected component of a visited graph; NaN below 30 states."""
    if len(graph) < MIN_NODES:
        return math.nan, f"The states number {len(graph)}; percolation is measured from {MIN_NODES} on."
    return max(len(c) for c in nx.connected_components(graph.to_undirected())) / len(graph), ""


def _wilson(share: float, runs: float, level: float = 0.95) -> Interval:
    z = float(stats.norm.ppf(0.5 + level / 2))
    middle = (share + z**2 / (2 * runs)) / (1 + z**2 / runs)
    reach = z * math.sqrt(share * (1 - share) / runs + (z / (2 * runs)) ** 2) / (1 + z**2 / runs)
    return Interval(max(middle - reach, 0.0), share, min(middle + reach, 1.0))


def _share(times: Floats, ends: Floats, budget: float) -> Interval:
    """Return one minus the Kaplan-Meier curve at the budget.

    Its interval is Wilson's for as many runs as would have Greenwood's variance if all had been followed, which is
    their number if they were.
    """
    seen = times <= np.minimum(ends, budget)
    last = np.where(seen, times, np.minimum(ends, budget))
    waiting, spread = 1.0, 0.0
    for moment in np.unique(last[seen]):
        at_risk, now = int((last >= moment).sum()), int((seen & (last == moment)).sum())
        waiting *= 1 - now / at_risk
        spread += now / (at_risk * (at_risk - now)) if at_risk > now else 0.0
    if waiting > 0 and not (ends[~seen] >= budget).any():
        return Interval(0.0, math.nan, 1.0)
    runs = (1 - waiting) / (waiting * spread) if 0 < waiting < 1 else float((seen | (ends >= budget)).sum())
    return _wilson(1 - waiting, runs)


def _power(sizes: npt.ArrayLike, times: npt.ArrayLike, budget: float, followed: npt.ArrayLike | None) -> float:
    """Return the exponent gamma of ``times ~ sizes^-gamma`` over the runs as far as they were followed."""
    found = np.nan_to_num(np.asarray(times, dtype=np.float64), nan=np.inf)
    ends = np.minimum(np.inf if followed is None else np.asarray(followed, dtype=np.float64), budget)
    is_late = found > ends
    values = np.where(is_late, ends, found)
    fit = fit_law(DELAY_LAWS["power"], np.asarray(sizes, dtype=np.float64), values, is_late)
    return max(fit.parameters[1], 1e-9)


def _verdict(moved: float, gap: float, expected: float) -> tuple[bool, str]:
    if moved > 0.1 * gap:
        alone = f"{expected:.3g} if nothing but the time diverges"
        return False, f"threshold fell by {moved:.3g} over the last doubling, by {alone}: no threshold shown"
    if expected <= gap:
        return False, (
            f"undecided: without any threshold it would have fallen by {expected:.3g}, less than the gap of {gap:.3g} "
            "between the sizes; train sizes that lie closer there"
        )
    return True, f"threshold stands still over the last doubling; without one it would have fallen by {expected:.3g}"


def _threshold(sizes: Floats, shares: dict[float, Interval]) -> float:
    """Return the interpolated size at which the share reaches one half and stays above; NaN if it does not."""
    values = np.array([shares[size].estimate for size in sizes.tolist()])
    low = np.flatnonzero(values < 0.5)
    if not len(low) or low[-1] == len(values) - 1:
        return math.nan
    i = int(low[-1])
    return float(sizes[i] + (0.5 - values[i]) / (values[i + 1] - values[i]) * (sizes[i + 1] - sizes[i]))
