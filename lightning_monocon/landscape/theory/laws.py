# SPDX-License-Identifier: Apache-2.0
"""Fit rival laws to the same data and weigh them by AICc: no law is assumed, and none is named that does not lead.

Delay of generalisation against the number of training samples D:

    critical         a / (D - D_c)         the paper's, nu = 1       critical_power   a (D - D_c)^-nu
    power            a D^-gamma                                      power_offset     a D^-gamma + b

A critical size lies between zero and the smallest size that generalised.

Fallibility against steps S: power ``(S_0 / S)^mu``, power_offset ``(S_0 / S)^mu + F_inf``, stretched exponential
``a exp(-(S / S_0)^beta)`` and logarithm ``a - b log S``.

Times are lognormal about the law. A run that did not generalise within its budget is right-censored. On 26 real runs
power_offset beat critical by 27 in AICc, and sizes below the fitted D_c still generalised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from lightning_monocon.landscape.rates import Interval
from lightning_monocon.landscape.strata import Floats

Booleans: TypeAlias = npt.NDArray[np.bool_]

MIN_LEAD = 4.0
"""The lead in AICc, over the laws that it does not belong to, from which the best law is named."""

UNDECIDED = "undecided"


class Law(NamedTuple):
    """Hold a law of positive values.

    Attributes:
        log_value: The log of the predicted value, given ``x`` and the parameters.
        starts: The points from which a fit starts.
        wider: The laws of which this one is a special case: they are never much worse.
    """

    log_value: Callable[[Floats, Floats], Floats]
    starts: Callable[[Floats, Floats], list[list[float]]]
    wider: tuple[str, ...] = ()


class LawFit(NamedTuple):
    """Hold the fit of one law.

    Attributes:
        parameters: Of the search; see `critical_size` for a size in samples.
        aicc: Akaike's criterion, corrected for few points.
        log_error: Root-mean-square log error of the uncensored values.
        surprise: Negative log-likelihood.
    """

    parameters: tuple[float, ...]
    aicc: float
    log_error: float
    surprise: float


class LawComparison(NamedTuple):
    """Hold the fits of all laws and which of them is named.

    Attributes:
        fits: The fit of each law.
        weights: Their Akaike weights, which sum to one.
        best: The law with the lowest AICc.
        lead: By how much its AICc is below that of each other law, but for those of which it is a special case.
        winner: The best law if it leads by 4 or more, or ``"undecided"``.
    """

    fits: dict[str, LawFit]
    weights: dict[str, float]
    best: str
    lead: float
    winner: str


def _log(values: Floats) -> Floats:
    """Return the logarithm; values that are not positive become very small instead of failing the search."""
    logs: Floats = np.log(np.maximum(values, 1e-12))
    return logs


def _critical_size(x: Floats, parameter: float) -> float:
    """Return a size between zero and the largest; the likelihood keeps it below those that generalised."""
    return float(x.max() * special.expit(parameter))


def _gap(x: Floats, parameter: float) -> Floats:
    return _log(x - _critical_size(x, parameter))


def _gap_starts(x: Floats, y: Floats) -> list[list[float]]:
    sizes = [x.min() * share for share in (0.01, 0.3, 0.6, 0.9, 0.99)]
    return [[float(np.mean(np.log(y) + np.log(x - size))), float(special.logit(size / x.max()))] for size in sizes]


def _power_start(x: Floats, y: Floats) -> tuple[float, float]:
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(intercept), float(-slope)


DELAY_LAWS = {
    "critical": Law(lambda x, p: p[0] - _gap(x, p[1]), _gap_starts, wider=("critical_power",)),
    "critical_power": Law(
        lambda x, p: p[0] - p[2] * _gap(x, p[1]),
        lambda x, y: [[s[0] * nu, s[1], nu] for s in _gap_starts(x, y) for nu in (0.5, 1.0, 2.0)],
    ),
    "power": Law(
        lambda x, p: p[0] - p[1] * np.log(x),
        lambda x, y: [list(_power_start(x, y))],
        wider=("critical_power", "power_offset"),
    ),
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
    "power": DELAY_LAWS["power"],  # the wider law among these is `power_offset` alone
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
    """Fit all laws, weigh them by AICc, and name the best if it leads by 4 or more.

    A law does not have to lead those of which it is a special case, as they are never much worse: `power` is named
    although `power_offset` with an offset of nearly zero is as good.

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
    best = min(fits, key=lambda name: fits[name].aicc)
    rivals = [fit.aicc for name, fit in fits.items() if name != best and name not in laws[best].wider]
    lead = min(rivals, default=np.inf) - fits[best].aicc
    weights = akaike_weights({name: fit.aicc for name, fit in fits.items()})
    return LawComparison(fits, weights, best, lead, best if lead >= MIN_LEAD else UNDECIDED)


def critical_size(
    x: npt.ArrayLike, y: npt.ArrayLike, law: str = "critical", censored: npt.ArrayLike | None = None
) -> Interval:
    """Return the critical size D_c under a law that has one, with its 95 % interval, in the units of ``x``.

    The interval holds the sizes whose profile likelihood is not much below the largest, by the F distribution. It ends
    at zero where no critical size explains the values as well.

    Args:
        x: Positive sizes ``(N,)``.
        y: Positive times ``(N,)``; the budget if censored.
        law: ``"critical"`` or ``"critical_power"``.
        censored: Booleans ``(N,)``, True if the time is only known to be larger.
    """
    sizes, times = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    hidden = np.zeros(sizes.shape, dtype=bool) if censored is None else np.asarray(censored, dtype=bool)
    fit = fit_law(DELAY_LAWS[law], sizes, times, hidden)
    best, free = _critical_size(sizes, fit.parameters[1]), len(sizes) - len(fit.parameters) - 1
    reach = 0.5 * len(sizes) * np.log1p(stats.f.ppf(0.95, 1, free) / free)

    def excess(size: float) -> float:
        """Return how far a size lies beyond the interval, in log-likelihood."""
        # without the size, what is left is a power law of the distance from it
        log_gap = _log(sizes - size)
        fixed = Law(
            lambda _, p: p[0] - (p[1] if law == "critical_power" else 1.0) * log_gap,
            lambda _, y: [[float(fit.parameters[0]), *fit.parameters[2:]]],
        )
        return float(fit_law(fixed, sizes, times, hidden).surprise - fit.surprise - reach)

    def bound(far: float) -> float:
        if excess(far) <= 0:
            return far
        found = optimize.root_scalar(excess, bracket=(best, far), xtol=1e-3 * float(sizes.min()))
        return float(found.root)

    return Interval(bound(0.0), best, bound(float(sizes[~hidden].min()) * (1 - 1e-6)))


def fit_law(law: Law, x: Floats, y: Floats, censored: Booleans) -> LawFit:
    """Fit one law by the maximum likelihood of a lognormal about it, with right-censored values."""

    def cost(parameters: Floats) -> float:
        return _surprise(np.log(y) - law.log_value(x, parameters[:-1]), parameters[-1], censored)

    rough = min((_descend(cost, [*start, -1.0], 1e-2) for start in law.starts(x, y)), key=lambda found: found[1])
    best = _descend(cost, _descend(cost, rough[0], 1e-6)[0], 1e-6)  # a simplex may collapse before it is there
    residual = (np.log(y) - law.log_value(x, best[0][:-1]))[~censored]
    aicc = information_criterion(best[1], len(best[0]), len(x))
    return LawFit(tuple(best[0][:-1].tolist()), aicc, float(np.sqrt((residual**2).mean())), best[1])


def information_criterion(surprise: float, parameters: int, points: int) -> float:
    """Return the AICc of a negative log-likelihood; infinite if there are not two points more than parameters."""
    spare = points - parameters - 1
    return 2 * surprise + 2 * parameters + (2 * parameters * (parameters + 1) / spare if spare > 0 else np.inf)


def akaike_weights(criteria: dict[str, float]) -> dict[str, float]:
    """Return the relative likelihood of each model; they sum to one."""
    lowest = min(criteria.values())
    raw = {name: float(np.exp(-(value - lowest) / 2)) for name, value in criteria.items()}
    return {name: value / sum(raw.values()) for name, value in raw.items()}


def _surprise(residual: Floats, log_sigma: float, censored: Booleans) -> float:
    """Return the negative log-likelihood of log residuals; a censored one only says that the value is larger."""
    z = np.clip(residual / np.exp(log_sigma), -1e6, 1e6)
    seen = 0.5 * (z[~censored] ** 2).sum() + (~censored).sum() * (log_sigma + 0.5 * np.log(2 * np.pi))
    return float(seen - special.log_ndtr(-z[censored]).sum())


def _descend(cost: Callable[[Floats], float], start: Floats | list[float], tolerance: float) -> tuple[Floats, float]:
    options = {"maxiter": 4000, "maxfev": 4000, "xatol": tolerance, "fatol": tolerance}
    found = optimize.minimize(cost, start, method="Nelder-Mead", options=options)
    return found.x, float(found.fun)
