# SPDX-License-Identifier: Apache-2.0
"""Measure a run as a walk: how far it goes, how many states it sees, and the dimension of its landscape.

    displacement   <|h(t + s) - h(t)|^2> ~ s^(2 alpha)     1 ballistic, 1/2 diffusive, below sub-diffusive
    states seen    S(t) ~ t^min(d_s / 2, 1)
    return         P_0(t) ~ t^(-d_s / 2)                   d_s: spectral dimension
    first passage  (I - Q) m = 1                           m: mean steps to the target

Inside a memorising plateau alpha was 0.9: beneath a constant credence the predictions drift rather than hop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import linalg

from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory.estimate import (
    MIN_DECADES,
    MIN_POINTS,
    Estimate,
    decades,
    jackknife,
    least_squares_slope,
    local_slopes,
    power_law,
    refuse,
)

LAGS = 24
REPLICAS = 64
MOST_DIMENSIONS = 16  # more would make the error smaller, and the simulation slow
SURE = 3.0  # standard errors by which local slopes may differ by chance


def displacement_exponent(paths: npt.ArrayLike, max_lag_share: float = 0.25, seed: int = 0) -> Estimate:
    """Fit the exponent alpha of the mean squared displacement of one or several paths over evenly spaced times.

    With several runs the error is the jackknife's over them. With one it is that of simulated paths: fractional
    Brownian motions of the exponent found, in as many dimensions as the participation ratio of the steps says. The
    exponent is refused below 200 points, if the lags span less than 1.5 decades, or if the local slopes differ by more
    than a power law and that error allow.

    Args:
        paths: One path ``(T, D)``, or those of R runs ``(R, T, D)``.
        max_lag_share: Largest lag, as a share of T.
        seed: Seed of the simulated paths.
    """
    points = np.asarray(paths, dtype=np.float64)
    runs = points if points.ndim == 3 else points[None]
    if runs.shape[1] < MIN_POINTS:
        return refuse(f"needs {MIN_POINTS} evaluations, got {runs.shape[1]}")
    lags = log_spaced(1, int(max_lag_share * runs.shape[1]))
    if decades(lags.astype(np.float64)) < MIN_DECADES:
        return refuse(f"lags span {decades(lags.astype(np.float64)):.1f} decades, needs {MIN_DECADES}")
    squares = np.stack([displacements(run, lags) for run in runs])
    if not (squares.mean(axis=0) > 0).all():
        return refuse("the paths do not move" if len(runs) > 1 else "the path does not move")
    slopes = _slopes(lags)
    if len(runs) > 1:
        errors, freedom = jackknife(lambda some: slopes(some.mean(axis=0)), squares), len(runs) - 1.0
    else:
        alpha = float(slopes(squares[0])[0]) / 2
        replicas = brownian_displacements(alpha, runs[0], lags, np.random.default_rng(seed))
        errors = np.array([slopes(replica) for replica in replicas]).std(axis=0)
        freedom = _independent(np.diff(runs[0], axis=0)) / max_lag_share  # so many stretches of the longest lag
    fit = power_law(lags.astype(np.float64), squares.mean(axis=0), noise=SURE * float(errors[1:].max()))
    return fit._replace(value=fit.value / 2, error=float(errors[0]) / 2, freedom=freedom)


def displacements(path: Floats, lags: npt.NDArray[np.int64]) -> Floats:
    """Return the mean squared displacement ``(L,)`` of a ``(T, D)`` path over ``(L,)`` lags."""
    return np.array([((path[lag:] - path[:-lag]) ** 2).sum(axis=1).mean() for lag in lags])


def brownian_displacements(alpha: float, like: Floats, lags: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Simulate the displacements ``(64, L)`` of fractional Brownian motions of one exponent (Davies and Harte 1987).

    Args:
        alpha: Exponent.
        like: The path ``(T, D)`` whose length and whose number of independent dimensions they have.
        lags: The lags ``(L,)``.
        rng: Source of the noise.
    """
    steps, power = len(like) - 1, 2 * float(np.clip(alpha, 0.02, 0.99))
    times = np.arange(steps + 1.0)
    covariance = 0.5 * ((times + 1) ** power - 2 * times**power + np.abs(times - 1) ** power)
    spectrum = np.fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real.clip(min=0)
    dimensions = int(np.clip(round(_independent(np.diff(like, axis=0))), 1, MOST_DIMENSIONS))
    found = np.empty((REPLICAS, len(lags)))
    for replica in range(REPLICAS):
        noise = rng.standard_normal((len(spectrum), dimensions)) + 1j * rng.standard_normal((len(spectrum), dimensions))
        moves = np.fft.fft(np.sqrt(spectrum / len(spectrum))[:, None] * noise, axis=0).real[:steps]
        found[replica] = displacements(np.concatenate([np.zeros((1, dimensions)), moves.cumsum(axis=0)]), lags)
    return found


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

    The error is the jackknife's over the walks: the numbers of states that one walk has seen at two times are no
    independent points. The exponent is refused below 200 positions or 1.5 decades, and for a single walk.
    """
    if len(walks) < 2:
        return refuse("one walk: exponents of a single run are always refused")
    length = min(len(walk) for walk in walks)
    if length < MIN_POINTS or np.log10(length / start) < MIN_DECADES:
        return refuse(f"needs {MIN_POINTS} positions over {MIN_DECADES} decades from {start}, got {length}")
    times = log_spaced(start, length - 1)
    seen = np.stack([distinct_states(walk[:length])[times] for walk in walks])
    slopes = _slopes(times)
    errors = jackknife(lambda some: slopes(some.mean(axis=0)), seen)
    fit = power_law(times.astype(np.float64), seen.mean(axis=0), noise=SURE * float(errors[1:].max()))
    return fit._replace(error=float(errors[0]), freedom=len(walks) - 1)


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


def _slopes(times: npt.NDArray[np.int64]) -> Callable[[Floats], Floats]:
    """Return what makes of ``(L,)`` values their slope in log-log and the differences of the local ones: ``(3,)``."""
    log_times = np.log(times.astype(np.float64))

    def slopes(values: Floats) -> Floats:
        first, middle, last = local_slopes(log_times, np.log(values))
        return np.array([least_squares_slope(log_times, np.log(values))[0], last - first, last - middle])

    return slopes


def _independent(steps: Floats) -> float:
    """Return the participation ratio of the second moments of ``(T, D)`` steps."""
    moments = steps.T @ steps if steps.shape[1] <= len(steps) else steps @ steps.T
    return float(np.trace(moments) ** 2 / (moments**2).sum())
