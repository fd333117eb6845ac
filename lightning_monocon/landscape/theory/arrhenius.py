# SPDX-License-Identifier: Apache-2.0
"""Test whether the escape from a state is thermally activated: the Arrhenius law against three rivals.

    arrhenius          log t = a + b / T         T = lr / B, the noise temperature of minibatch SGD
    power              log t = a - g log T       Mori et al. 2022
    norm_contraction   log t = a - log(lr wd)
    learning_rate      log t = a - log lr

An escape time is exponentially distributed about its mean, so its log lies below the log of the mean by Euler's
constant on average, with variance pi^2 / 6. ``b`` is beta (F_j - F_i) in the convention of the paper's eq. 3,
t_ij = t0 exp[beta (F_j - F_i)]. Rates that obey it have the ratio R_ij / R_ji = exp[-2 beta (F_j - F_i)] and the
stationary law exp(-2 beta F), so a fit to both directions returns 2 beta; see `beta_from_ratio`.

A single run does not identify beta: it gives one difference of F, and t0 is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory.laws import akaike_weights, information_criterion

EULER = float(np.euler_gamma)
MIN_TEMPERATURES, MIN_SPAN, MIN_SEEDS, MIN_LEAD = 4, 4.0, 3, 4.0


class Escape(NamedTuple):
    """Hold an escape from a state: its time in steps and the run's settings, ``batch_size`` None for full batches."""

    time: float
    lr: float
    batch_size: int | None
    weight_decay: float
    optimizer: str = "sgd"

    @property
    def temperature(self) -> float:
        """Return the noise temperature lr / B, 0 for full batches."""
        return 0.0 if self.batch_size is None else self.lr / self.batch_size


class ArrheniusFit(NamedTuple):
    """Hold the result of the comparison.

    Attributes:
        barrier: Slope b; NaN if ``reason`` refuses it.
        error: Standard error of the barrier.
        weights: Akaike weights of the laws that the settings can express.
        winner: The law with the largest weight.
        reason: Why the barrier is not identifiable; empty if it is.
    """

    barrier: float
    error: float
    weights: dict[str, float]
    winner: str
    reason: str


def fit_arrhenius(escapes: Sequence[Escape]) -> ArrheniusFit:
    """Weigh the four laws and return the barrier, or refuse it.

    The barrier is returned only for minibatch SGD with at least 4 temperatures that span a factor of 4, at least 3 runs
    at each, and only if the Arrhenius law leads its best rival by more than 4 in AICc.

    Raises:
        ValueError: If there are fewer than 5 escapes, or a time or a learning rate is not positive.
    """
    wrong = sum(e.time <= 0 or e.lr <= 0 for e in escapes)
    if len(escapes) < 5 or wrong:
        raise ValueError(
            "`escapes` must hold at least 5 escapes, with positive times and learning rates; "
            f"got {len(escapes)}, of which {wrong} have others. Leave out runs that did not escape."
        )
    log_time = np.log([e.time for e in escapes]) + EULER
    criteria = {name: _criterion(log_time, design, offset) for name, (design, offset) in _designs(escapes).items()}
    weights = akaike_weights(criteria)
    winner = max(weights, key=lambda name: weights[name])
    reason = _objection(escapes, criteria)
    if reason:
        return ArrheniusFit(math.nan, math.nan, weights, winner, f"not_identifiable: {reason}")
    slope, error = _barrier(log_time, np.array([1 / e.temperature for e in escapes]))
    return ArrheniusFit(slope, error, weights, winner, "")


def beta_from_ratio(forward: float, backward: float, gap: float) -> float:
    """Return the inverse temperature beta from the rates in both directions over a fallibility ``gap`` F_j - F_i.

    Example:
        >>> round(beta_from_ratio(np.exp(-1.5), np.exp(1.5), 1.0), 6)
        1.5
    """
    return -math.log(forward / backward) / (2 * gap)


def stationary_law(fallibility: Floats, beta: float) -> Floats:
    """Return shares of time ``(K,)`` that rates of eq. 3 spend in states of ``(K,)`` fallibilities: exp(-2 beta F)."""
    weights: Floats = np.exp(-2 * beta * (fallibility - fallibility.min()))
    shares: Floats = weights / weights.sum()
    return shares


def _designs(escapes: Sequence[Escape]) -> dict[str, tuple[Floats, Floats]]:
    """Return the design matrix ``(N, k)`` and the fixed offset ``(N,)`` of each law that the settings can express."""
    ones = np.ones((len(escapes), 1))
    lr = np.log([e.lr for e in escapes])
    designs = {"learning_rate": (ones, -lr)}
    if all(e.weight_decay > 0 for e in escapes):
        designs["norm_contraction"] = (ones, -lr - np.log([e.weight_decay for e in escapes]))
    if len({e.temperature for e in escapes}) > 1 and all(e.temperature > 0 for e in escapes):
        temperature = np.array([[e.temperature] for e in escapes])
        zeros = np.zeros(len(escapes))
        designs["arrhenius"] = (np.hstack([ones, 1 / temperature]), zeros)
        designs["power"] = (np.hstack([ones, -np.log(temperature)]), zeros)
    return designs


def _criterion(log_time: Floats, design: Floats, offset: Floats) -> float:
    target = log_time - offset
    scaled = design / np.abs(design).max(axis=0)
    coefficients = np.linalg.lstsq(scaled, target, rcond=None)[0]
    variance = max(float(((target - scaled @ coefficients) ** 2).mean()), 1e-12)
    surprise = 0.5 * len(target) * (math.log(2 * math.pi * variance) + 1)
    return information_criterion(surprise, design.shape[1] + 1, len(target))


def _objection(escapes: Sequence[Escape], criteria: dict[str, float]) -> str:
    if any(e.batch_size is None or "sgd" not in e.optimizer.lower() for e in escapes):
        return "only minibatch SGD has the temperature lr / B"
    temperatures, counts = np.unique([round(e.temperature, 15) for e in escapes], return_counts=True)
    if len(temperatures) < MIN_TEMPERATURES or temperatures[-1] < MIN_SPAN * temperatures[0]:
        span = temperatures[-1] / temperatures[0]
        return (
            f"{len(temperatures)} temperatures over a factor of {span:.1f} are too few: it takes {MIN_TEMPERATURES} "
            f"over a factor of {MIN_SPAN:g}"
        )
    if counts.min() < MIN_SEEDS:
        return f"a temperature has {counts.min()} runs, and it takes {MIN_SEEDS}"
    lead = min(value for name, value in criteria.items() if name != "arrhenius") - criteria["arrhenius"]
    return (
        "" if lead > MIN_LEAD else f"its AICc leads the best rival's by {lead:.1f}, and it takes more than {MIN_LEAD:g}"
    )


def _barrier(log_time: Floats, inverse_temperature: Floats) -> tuple[float, float]:
    centred = inverse_temperature - inverse_temperature.mean()
    spread = float((centred**2).sum())
    return float((centred * log_time).sum() / spread), math.pi / math.sqrt(6 * spread)
