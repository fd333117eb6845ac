# SPDX-License-Identifier: Apache-2.0
"""Fit rival laws to the same data and weigh them by AICc: no law is assumed, the winner is named.

Delay of generalisation against the number of training samples D:

    critical         a / (D - D_c)         the paper's, nu = 1       critical_power   a (D - D_c)^-nu
    power            a D^-gamma                                      power_offset     a D^-gamma + b

Fallibility against steps S: power ``(S_0 / S)^mu``, power_offset ``(S_0 / S)^mu + F_inf``, stretched exponential
``a exp(-(S / S_0)^beta)`` and logarithm ``a - b log S``.

Times are lognormal about the law. A run that did not generalise within its budget is right-censored. On 26 real runs
power_offset beat critical by 27 in AICc, and sizes below the fitted D_c still generalised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from lightning_monocon.landscape.strata import Floats


class Law(NamedTuple):
    """Hold the log of the predicted value, given ``x`` and the parameters, and the points from which a fit starts."""

    log_value: Callable[[Floats, Floats], Floats]
    starts: Callable[[Floats, Floats], list[list[float]]]


class LawFit(NamedTuple):
    """Hold the fit of one law: parameters, AICc, and root-mean-square log error of the uncensored values."""

    parameters: tuple[float, ...]
    aicc: float
    log_error: float


class LawComparison(NamedTuple):
    """Hold the fits of all laws, their Akaike weights and the winner."""

    fits: dict[str, LawFit]
    weights: dict[str, float]
    winner: str


def _log(values: Floats) -> Floats:
    """Return the logarithm; values that are not positive become very small instead of failing the search."""
    logs: Floats = np.log(np.maximum(values, 1e-12))
    return logs


def _gap_starts(x: Floats, y: Floats) -> list[list[float]]:
    gaps = [x.min() * share for share in (0.3, 0.6, 0.9, 0.99)]
    return [[float(np.mean(np.log(y) + np.log(x - gap))), float(np.log(x.min() - gap))] for gap in gaps]


def _power_start(x: Floats, y: Floats) -> tuple[float, float]:
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(intercept), float(-slope)


DELAY_LAWS = {
    # the second parameter is log(D_min - D_c), so that D_c stays below the data
    "critical": Law(lambda x, p: p[0] - _log(x - x.min() + np.exp(p[1])), _gap_starts),
    "critical_power": Law(
        lambda x, p: p[0] - p[2] * _log(x - x.min() + np.exp(p[1])),
        lambda x, y: [[s[0] * nu, s[1], nu] for s in _gap_starts(x, y) for nu in (0.5, 1.0, 2.0)],
    ),
    "power": Law(lambda x, p: p[0] - p[1] * np.log(x), lambda x, y: [list(_power_start(x, y))]),
    "power_offset": Law(
        lambda x, p: np.logaddexp(p[0] - p[1] * np.log(x), p[2]),
        lambda x, y: [
            [_power_start(x, y)[0] + k * np.log(x).mean(), _power_start(x, y)[1] + k, np.log(y.min() * share)]
            for k in (0.0, 1.0, 3.0)
            for share in (0.01, 0.3, 0.9)
        ],
    ),
}

DECAY_LAWS = {
    "power": DELAY_LAWS["power"],
    "power_offset": DELAY_LAWS["power_offset"],
    "stretched_exponential": Law(
        lambda x, p: p[0] - np.exp(p[2] * (np.log(x) - p[1])),
        lambda x, y: [[np.log(y.max()), np.log(x).mean(), beta] for beta in (0.3, 0.6, 1.0)],
    ),
    "logarithm": Law(
        lambda x, p: _log(p[0] - np.exp(p[1]) * np.log(x)),
        lambda x, y: [[float(y.max() * 1.5), float(np.log(np.ptp(y) / np.ptp(np.log(x)) + 1e-9))]],
    ),
}


def compare_laws(
    x: npt.ArrayLike, y: npt.ArrayLike, laws: dict[str, Law], censored: npt.ArrayLike | None = None
) -> LawComparison:
    """Fit all laws and weigh them by AICc.

    Args:
        x: Positive settings ``(N,)``: sizes or steps.
        y: Positive values ``(N,)``: times or fallibilities; the budget if censored.
        laws: `DELAY_LAWS` or `DECAY_LAWS`.
        censored: Booleans ``(N,)``, True if the value is only known to be larger.

    Raises:
        ValueError: If shapes disagree, values are not positive, or there are fewer than 8 uncensored points.
    """
    settings, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    hidden = np.zeros(settings.shape, dtype=bool) if censored is None else np.asarray(censored, dtype=bool)
    if settings.ndim != 1 or not settings.shape == values.shape == hidden.shape:
        raise ValueError(f"`x` and `y` must be (N,), got shapes {settings.shape} and {values.shape}.")
    if (settings <= 0).any() or (values <= 0).any():
        raise ValueError(f"`x` and `y` must be positive, got minima {settings.min():g} and {values.min():g}.")
    if (~hidden).sum() < 8:
        raise ValueError(f"`y` must hold at least 8 uncensored values to tell laws apart, got {int((~hidden).sum())}.")
    fits = {name: fit_law(law, settings, values, hidden) for name, law in laws.items()}
    weights = akaike_weights({name: fit.aicc for name, fit in fits.items()})
    return LawComparison(fits, weights, max(weights, key=lambda name: weights[name]))


def fit_law(law: Law, x: Floats, y: Floats, censored: npt.NDArray[np.bool_]) -> LawFit:
    """Fit one law by the maximum likelihood of a lognormal about it, with right-censored values."""

    def cost(parameters: Floats) -> float:
        return _surprise(np.log(y) - law.log_value(x, parameters[:-1]), parameters[-1], censored)

    best = min((_descend(cost, [*start, -1.0]) for start in law.starts(x, y)), key=lambda result: result[1])
    residual = (np.log(y) - law.log_value(x, best[0][:-1]))[~censored]
    aicc = information_criterion(best[1], len(best[0]), len(x))
    return LawFit(tuple(best[0][:-1].tolist()), aicc, float(np.sqrt((residual**2).mean())))


def information_criterion(surprise: float, parameters: int, points: int) -> float:
    """Return the AICc of a negative log-likelihood; infinite if there are not two points more than parameters."""
    spare = points - parameters - 1
    return 2 * surprise + 2 * parameters + (2 * parameters * (parameters + 1) / spare if spare > 0 else np.inf)


def akaike_weights(criteria: dict[str, float]) -> dict[str, float]:
    """Return the relative likelihood of each model; they sum to one."""
    lowest = min(criteria.values())
    raw = {name: float(np.exp(-(value - lowest) / 2)) for name, value in criteria.items()}
    return {name: value / sum(raw.values()) for name, value in raw.items()}


def _surprise(residual: Floats, log_sigma: float, censored: npt.NDArray[np.bool_]) -> float:
    """Return the negative log-likelihood of log residuals; a censored one only says that the value is larger."""
    z = np.clip(residual / np.exp(log_sigma), -1e6, 1e6)
    seen = 0.5 * (z[~censored] ** 2).sum() + (~censored).sum() * (log_sigma + 0.5 * np.log(2 * np.pi))
    return float(seen - stats.norm.logsf(z[censored]).sum())


def _descend(cost: Callable[[Floats], float], start: list[float]) -> tuple[Floats, float]:
    options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-6, "fatol": 1e-8}
    first = optimize.minimize(cost, start, method="Nelder-Mead", options=options)
    again = optimize.minimize(cost, first.x, method="Nelder-Mead", options=options)
    return again.x, float(again.fun)
