# SPDX-License-Identifier: Apache-2.0
"""Test whether the escape from a state is thermally activated: the Arrhenius law against three rivals.

    arrhenius          log t = a + b / T         T = lr / B, the noise temperature of minibatch SGD
    power              log t = a - g log T       Mori et al. 2022
    norm_contraction   log t = a - log(lr wd)
    learning_rate      log t = a - log lr

The slope ``b`` is the difference of fallibility F_j - F_i in units of T: the paper's eq. 3,
t_ij = t0_ij exp[beta (F_j - F_i)], with beta = 1 / T.

Rates that obey eq. 3 are in detailed balance only if the prefactor is symmetric, t0_ij = t0_ji. Then
R_ij / R_ji = exp[-2 beta (F_j - F_i)] and the stationary law is exp(-2 beta F), so a fit to both directions returns
2 beta; see `beta_from_ratio`. The paper assumes no such symmetry.

Times follow a Weibull law about each of the four, exponential if its shape is one. A run that had not escaped when it
ended counts as an escape that takes longer: left out, it would take the late escapes from the cold end and flatten b.

A single run does not identify beta: it gives one difference of F, and t0 is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import optimize

from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory.laws import akaike_weights, information_criterion

Booleans: TypeAlias = npt.NDArray[np.bool_]

MIN_TEMPERATURES, MIN_SPAN, MIN_SEEDS, MIN_LEAD = 4, 4.0, 3, 4.0
SMALLEST_SPREAD = -10.0
"""The log of the smallest scale of log times about a law, for times without noise."""


class Escape(NamedTuple):
    """Hold an escape from a state: its time in steps and the run's settings.

    Attributes:
        time: Steps in the state.
        lr: Learning rate.
        batch_size: Samples in a step; None for full batches.
        weight_decay: Weight decay.
        optimizer: Name of the optimizer.
        is_late: Whether the run ended before the escape, which then takes longer than ``time``.
    """

    time: float
    lr: float
    batch_size: int | None
    weight_decay: float
    optimizer: str = "sgd"
    is_late: bool = False

    @property
    def temperature(self) -> float:
        """Return the noise temperature lr / B, 0 for full batches."""
        return 0.0 if self.batch_size is None else self.lr / self.batch_size


class ArrheniusFit(NamedTuple):
    """Hold the result of the comparison.

    Attributes:
        barrier: Slope b; NaN if ``reason`` refuses it.
        error: Standard error of the barrier.
        weights: Akaike weights of the laws that the settings can express and tell apart.
        winner: The law with the largest weight.
        reason: Why the barrier is not identifiable; empty if it is.
    """

    barrier: float
    error: float
    weights: dict[str, float]
    winner: str
    reason: str


class _Fit(NamedTuple):
    """Hold the negative log-likelihood of a law, its last coefficient and the standard error of that."""

    surprise: float
    slope: float
    error: float


def fit_arrhenius(escapes: Sequence[Escape]) -> ArrheniusFit:
    """Weigh the four laws and return the barrier, or refuse it.

    The barrier is returned only for minibatch SGD with at least 4 temperatures that span a factor of 4, at least 3
    escapes seen at each, and only if the Arrhenius law leads its best rival by more than 4 in AICc. Of two laws that
    the settings cannot tell apart one is weighed: without several weight decays there is no ``norm_contraction``.

    Raises:
        ValueError: If fewer than 5 escapes were seen, or a time or a learning rate is not positive.
    """
    wrong, seen = sum(e.time <= 0 or e.lr <= 0 for e in escapes), sum(not e.is_late for e in escapes)
    if seen < 5 or wrong:
        raise ValueError(
            "`escapes` must hold at least 5 escapes that were seen, with positive times and learning rates; "
            f"got {seen} seen among {len(escapes)}, of which {wrong} have others. Mark runs that ended first `is_late`."
        )
    log_time, is_late = np.log([e.time for e in escapes]), np.array([e.is_late for e in escapes])
    fits = {name: _fit(log_time, is_late, *law) for name, law in _designs(escapes).items()}
    parameters = {name: law[0].shape[1] + 1 for name, law in _designs(escapes).items()}
    criteria = {name: information_criterion(fit.surprise, parameters[name], len(escapes)) for name, fit in fits.items()}
    weights = akaike_weights(criteria)
    winner = max(weights, key=lambda name: weights[name])
    reason = _objection(escapes, criteria)
    if reason:
        return ArrheniusFit(math.nan, math.nan, weights, winner, f"not_identifiable: {reason}")
    return ArrheniusFit(fits["arrhenius"].slope, fits["arrhenius"].error, weights, winner, "")


def beta_from_ratio(forward: float, backward: float, gap: float) -> float:
    """Return the inverse temperature beta from the rates in both directions over a fallibility ``gap`` F_j - F_i.

    It assumes a symmetric prefactor: one that is ``c`` times as large forwards adds ``-log(c) / (2 gap)``.

    Example:
        >>> round(beta_from_ratio(np.exp(-1.5), np.exp(1.5), 1.0), 6)
        1.5
    """
    return -math.log(forward / backward) / (2 * gap)


def stationary_law(fallibility: Floats, beta: float) -> Floats:
    """Return shares of time ``(K,)`` that rates of eq. 3 with a symmetric prefactor spend in ``(K,)`` states.

    The shares are ``exp(-2 beta F)``, divided by their sum. Without the symmetry there is no such formula.
    """
    weights: Floats = np.exp(-2 * beta * (fallibility - fallibility.min()))
    shares: Floats = weights / weights.sum()
    return shares


def _designs(escapes: Sequence[Escape]) -> dict[str, tuple[Floats, Floats]]:
    """Return the design matrix ``(N, k)`` and the fixed offset ``(N,)`` of each law that the settings can express."""
    ones = np.ones((len(escapes), 1))
    lr = np.log([e.lr for e in escapes])
    designs = {"learning_rate": (ones, -lr)}
    decays = {e.weight_decay for e in escapes}
    if min(decays) > 0 and len(decays) > 1:
        designs["norm_contraction"] = (ones, -lr - np.log([e.weight_decay for e in escapes]))
    if len({e.temperature for e in escapes}) > 1 and all(e.temperature > 0 for e in escapes):
        temperature = np.array([[e.temperature] for e in escapes])
        zeros = np.zeros(len(escapes))
        designs["arrhenius"] = (np.hstack([ones, 1 / temperature]), zeros)
        designs["power"] = (np.hstack([ones, -np.log(temperature)]), zeros)
    return designs


def _fit(log_time: Floats, is_late: Booleans, design: Floats, offset: Floats) -> _Fit:
    """Fit a Weibull law of times, some of which are only known to be longer, by maximum likelihood.

    With ``u = (log t - offset - X c) / s`` a time that was seen has the log-density ``u - exp(u) - log s`` and a late
    one the log-probability ``-exp(u)``.
    """
    scale = np.abs(design).max(axis=0)
    x, target, seen = design / scale, log_time - offset, (~is_late).astype(np.float64)

    def cost(parameters: Floats) -> tuple[float, Floats]:
        spread = np.exp(parameters[-1])
        u = np.clip((target - x @ parameters[:-1]) / spread, -500, 500)
        rest = np.exp(u) - seen
        slopes = np.append(-x.T @ rest / spread, seen.sum() - u @ rest)
        return float(np.exp(u).sum() - seen @ (u - parameters[-1])), slopes

    line = np.linalg.lstsq(x, target, rcond=None)[0]
    start = np.append(line, math.log(max(float((target - x @ line).std()), 1e-3)))
    bounds = [(None, None)] * len(line) + [(SMALLEST_SPREAD, None)]
    found = optimize.minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000})
    variance = np.linalg.inv(_information(found.x, x, target, seen))
    freed = seen.sum() / max(float(seen.sum()) - x.shape[1], 1.0)  # as in a regression; likelihood alone is too sure
    place = x.shape[1] - 1
    error = math.sqrt(freed * variance[place, place]) / float(scale[-1])
    return _Fit(float(found.fun), float(found.x[place] / scale[-1]), error)


def _information(parameters: Floats, x: Floats, target: Floats, seen: Floats) -> Floats:
    """Return the observed information of the coefficients and of the log of the spread at the optimum."""
    spread = np.exp(parameters[-1])
    u = np.clip((target - x @ parameters[:-1]) / spread, -500, 500)
    late = np.exp(u)
    mixed = (x.T @ (late * u) / spread)[:, None]
    last = np.array([[(late * u**2).sum() + seen.sum()]])
    return np.block([[(x.T * late) @ x / spread**2, mixed], [mixed.T, last]])


def _objection(escapes: Sequence[Escape], criteria: dict[str, float]) -> str:
    if any(e.batch_size is None or "sgd" not in e.optimizer.lower() for e in escapes):
        return "only minibatch SGD has the temperature lr / B"
    temperatures, places = np.unique([round(e.temperature, 15) for e in escapes], return_inverse=True)
    counts = np.bincount(places, weights=[not e.is_late for e in escapes]).astype(int)
    if len(temperatures) < MIN_TEMPERATURES or temperatures[-1] < MIN_SPAN * temperatures[0]:
        span = temperatures[-1] / temperatures[0]
        return (
            f"{len(temperatures)} temperatures over a factor of {span:.1f} are too few: it takes {MIN_TEMPERATURES} "
            f"over a factor of {MIN_SPAN:g}"
        )
    if counts.min() < MIN_SEEDS:
        return f"a temperature has {counts.min()} runs that escaped, and it takes {MIN_SEEDS}"
    lead = min(value for name, value in criteria.items() if name != "arrhenius") - criteria["arrhenius"]
    return (
        "" if lead > MIN_LEAD else f"its AICc leads the best rival's by {lead:.1f}, and it takes more than {MIN_LEAD:g}"
    )
