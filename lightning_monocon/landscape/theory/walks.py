# SPDX-License-Identifier: Apache-2.0
"""Measure a run as a walk: how far it goes, how many states it sees, and the dimension of its landscape.

    displacement   <|h(t + s) - h(t)|^2> ~ s^(2 alpha)     1 ballistic, 1/2 diffusive, below sub-diffusive
    states seen    S(t) ~ t^min(d_s / 2, 1)
    return         P_0(t) ~ t^(-d_s / 2)                   d_s: spectral dimension
    first passage  (I - Q) m = 1                           m: mean steps to the target

Inside a memorising plateau alpha was 0.9: beneath a constant credence the predictions drift rather than hop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import linalg

from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory.estimate import MIN_DECADES, MIN_POINTS, Estimate, decades, power_law, refuse

LAGS = 24


def displacement_exponent(path: npt.ArrayLike, max_lag_share: float = 0.25) -> Estimate:
    """Fit the exponent alpha of the mean squared displacement of a ``(T, D)`` path over evenly spaced times.

    It is refused below 200 points, or if the lags, up to ``max_lag_share`` of T, span less than 1.5 decades.
    """
    points = np.asarray(path, dtype=np.float64)
    if len(points) < MIN_POINTS:
        return refuse(f"needs {MIN_POINTS} evaluations, got {len(points)}")
    lags = log_spaced(1, int(max_lag_share * len(points)))
    if decades(lags.astype(np.float64)) < MIN_DECADES:
        return refuse(f"lags span {decades(lags.astype(np.float64)):.1f} decades, needs {MIN_DECADES}")
    squares = np.array([((points[lag:] - points[:-lag]) ** 2).sum(axis=1).mean() for lag in lags])
    if not (squares > 0).all():
        return refuse("the path does not move")
    slope = power_law(lags.astype(np.float64), squares)
    return slope._replace(value=slope.value / 2, error=slope.error / 2)


def distinct_states(walk: Sequence[int]) -> Floats:
    """Count the distinct states seen after each of the T positions of a walk: ``(T,)``.

    Example:
        >>> distinct_states([0, 1, 0, 2])
        array([1., 2., 2., 3.])
    """
    states = np.asarray(walk)
    is_first = np.zeros(len(states), dtype=np.float64)
    is_first[np.unique(states, return_index=True)[1]] = 1.0
    seen: Floats = is_first.cumsum()
    return seen


def distinct_exponent(walks: Sequence[Sequence[int]], start: int = 10) -> Estimate:
    """Fit the exponent of the mean number of distinct states over several walks of one length, from step ``start``.

    It is refused below 200 positions or 1.5 decades, and for a single walk, which has too few states to count.
    """
    if len(walks) < 2:
        return refuse("one walk: exponents of a single run are always refused")
    length = min(len(walk) for walk in walks)
    if length < MIN_POINTS or np.log10(length / start) < MIN_DECADES:
        return refuse(f"needs {MIN_POINTS} positions over {MIN_DECADES} decades from {start}, got {length}")
    seen = np.mean([distinct_states(walk[:length]) for walk in walks], axis=0)
    times = log_spaced(start, length - 1)
    return power_law(times.astype(np.float64), seen[times])


def return_probability(adjacency: sparse.csr_matrix, starts: Sequence[int], steps: int) -> Floats:
    """Return the mean probability ``(steps,)`` that a lazy walk is back at its start after 1 .. ``steps`` steps."""
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    if (degree == 0).any():
        raise ValueError("`adjacency` must have no isolated node; take one connected component.")
    hop: Any = 0.5 * (sparse.identity(len(degree)) + sparse.diags(1 / degree) @ adjacency)
    transpose = hop.T.tocsr()
    columns = np.arange(len(starts))
    mass = np.zeros((len(degree), len(starts)))
    mass[np.asarray(starts), columns] = 1.0
    back = np.empty(steps)
    for t in range(steps):
        mass = transpose @ mass
        back[t] = mass[np.asarray(starts), columns].mean()
    return back


def spectral_dimension(
    adjacency: sparse.csr_matrix, starts: Sequence[int], window: tuple[int, int] = (20, 600)
) -> Estimate:
    """Fit the spectral dimension of a graph to the return probability inside a window of times.

    It is refused if the decay is not a power law, as on a random regular graph, whose return probability falls
    exponentially to 1 / N.
    """
    low, high = window
    if np.log10(high / low) < 1.0:
        return refuse(f"window {low}..{high} spans less than a decade")
    back = return_probability(adjacency, starts, high)
    times = log_spaced(low, high)
    fit = power_law(times.astype(np.float64), back[times - 1])
    return fit._replace(value=-2 * fit.value, error=2 * fit.error)


def mean_first_passage(transition: npt.ArrayLike, target: int) -> Floats:
    """Return the mean number of steps ``(K,)`` from each state of a ``(K, K)`` row-stochastic matrix to ``target``.

    Example:
        >>> mean_first_passage([[0.5, 0.5], [0.0, 1.0]], target=1)
        array([2., 0.])

    Raises:
        ValueError: If the matrix is not square with rows that sum to one, or the target cannot be reached.
    """
    matrix = np.asarray(transition, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix.sum(axis=1), 1.0):
        raise ValueError(f"`transition` must be square with rows that sum to one, got shape {matrix.shape}.")
    others = np.delete(np.arange(len(matrix)), target)
    kept = sparse.csc_matrix(np.eye(len(others)) - matrix[np.ix_(others, others)])
    if np.linalg.matrix_rank(kept.toarray()) < len(others):
        raise ValueError(
            f"`target` must be reachable from each state, got {target}; leave out the states that never reach it."
        )
    times = np.zeros(len(matrix))
    times[others] = np.ravel(cast("Floats", linalg.spsolve(kept, np.ones(len(others)))))
    return times


def log_spaced(low: int, high: int) -> npt.NDArray[np.int64]:
    """Return up to 24 distinct integers from ``low`` to ``high``, evenly spaced in the logarithm."""
    return np.unique(np.round(np.geomspace(low, max(high, low), LAGS)).astype(np.int64))
