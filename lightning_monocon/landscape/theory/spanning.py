# SPDX-License-Identifier: Apache-2.0
"""Measure percolation over runs: the share that finds a path from memorising to generalising within a budget.

    Pi(D; T) = share of runs of size D that generalise within T steps

The paper's threshold D_c would be the size at which Pi crosses one half *whatever the budget*. The budget-shift test is
therefore mandatory: if D_c(T) keeps falling as T grows, no threshold is shown, only a divergent time. An ensemble of
seeds is not a thermal ensemble, and a single run shows no percolation transition.
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

MIN_NODES = 30


class BudgetShift(NamedTuple):
    """Hold the result of the budget-shift test.

    Attributes:
        budgets: Budgets ``(B,)`` in steps.
        thresholds: Sizes ``(B,)`` at which the share crosses one half; NaN if it does not.
        is_stable: Whether the threshold stands still over the last doubling of the budget.
        reason: The verdict in words.
    """

    budgets: Floats
    thresholds: Floats
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
    interval = stats.binomtest(successes, runs).proportion_ci(level, method="wilson")
    return Interval(float(interval.low), successes / runs, float(interval.high))


def spanning_probability(sizes: npt.ArrayLike, times: npt.ArrayLike, budget: float) -> dict[float, Interval]:
    """Return the share of the runs of each size that generalise within ``budget`` steps, with its interval.

    Args:
        sizes: Size of each run ``(N,)``: number of training samples or parameters.
        times: Step of generalisation of each run ``(N,)``; NaN or infinite if it was not seen.
        budget: Number of steps.

    Raises:
        ValueError: If there are no runs, or not one size and one time for each.
    """
    size, time = np.asarray(sizes, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if size.ndim != 1 or size.shape != time.shape or not len(size):
        raise ValueError(f"`sizes` and `times` must be (N,), one per run; got shapes {size.shape} and {time.shape}.")
    found = np.nan_to_num(time, nan=np.inf) <= budget
    return {float(s): wilson_interval(int(found[size == s].sum()), int((size == s).sum())) for s in np.unique(size)}


def budget_shift(sizes: npt.ArrayLike, times: npt.ArrayLike, budgets: npt.ArrayLike) -> BudgetShift:
    """Follow the size at which half the runs generalise as the budget grows.

    The threshold counts as stable if it moves by less than a tenth of the gap between neighbouring sizes over the last
    doubling of the budget.

    Args:
        sizes: Size of each run ``(N,)``.
        times: Step of generalisation of each run ``(N,)``; NaN or infinite if it was not seen.
        budgets: Increasing budgets ``(B,)``, none larger than the number of steps of the shortest censored run.
    """
    limits = np.asarray(budgets, dtype=np.float64)
    thresholds = np.array([_threshold(spanning_probability(sizes, times, budget)) for budget in limits])
    before = thresholds[limits <= limits[-1] / 2]
    if not len(before) or math.isnan(thresholds[-1]) or math.isnan(before[-1]):
        return BudgetShift(limits, thresholds, False, "the share does not cross one half at both ends of a doubling")
    moved = float(before[-1] - thresholds[-1])
    gap = float(np.diff(np.unique(np.asarray(sizes, dtype=np.float64))).min())
    if moved > 0.1 * gap:
        verdict = f"threshold fell by {moved:.3g} over the last doubling: no threshold shown, only divergent times"
        return BudgetShift(limits, thresholds, False, verdict)
    return BudgetShift(limits, thresholds, True, "threshold stands still over the last doubling")


def binder_cumulant(order: npt.ArrayLike) -> float:
    """Return the Binder cumulant ``1 - <m^4> / (3 <m^2>^2)`` of an order parameter over ``(N,)`` runs."""
    m = np.asarray(order, dtype=np.float64)
    return float(1 - (m**4).mean() / (3 * (m**2).mean() ** 2))


def visited_percolation(graph: nx.DiGraph) -> tuple[float, str]:
    """Return the share of states in the largest undirected component of a visited graph; NaN below 30 states."""
    if len(graph) < MIN_NODES:
        return math.nan, f"The graph has {len(graph)} states; percolation is measured from {MIN_NODES} on."
    return max(len(c) for c in nx.connected_components(graph.to_undirected())) / len(graph), ""


def _threshold(shares: dict[float, Interval]) -> float:
    """Return the interpolated size at which the share reaches one half and stays above; NaN if it does not."""
    sizes = np.array(list(shares))
    values = np.array([share.estimate for share in shares.values()])
    low = np.flatnonzero(values < 0.5)
    if not len(low) or low[-1] == len(values) - 1:
        return math.nan
    i = int(low[-1])
    return float(sizes[i] + (0.5 - values[i]) / (values[i + 1] - values[i]) * (sizes[i + 1] - sizes[i]))
