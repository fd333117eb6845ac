# SPDX-License-Identifier: Apache-2.0
"""Laws, activation, forecasts: planted parameters come back, rivals are told apart, the rest is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles.credence_paths import STRATA, sigmoid

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.theory import (
    DECAY_LAWS,
    DELAY_LAWS,
    Escape,
    beta_from_ratio,
    compare_laws,
    fit_arrhenius,
    forecast_crossing,
    forecast_generalisation,
    stationary_law,
)

SIZES = np.repeat([696, 765, 870, 1044, 1218, 1392, 1566, 1740, 2088], 3).astype(float)


def _noise(seed: int, sigma: float = 0.1) -> np.ndarray:
    return np.exp(sigma * np.random.default_rng(seed).standard_normal(len(SIZES)))


def test_the_critical_law_is_recognised() -> None:
    times = 6e5 / (SIZES - 600) * _noise(0)
    comparison = compare_laws(SIZES, times, DELAY_LAWS)
    assert comparison.winner in ("critical", "critical_power")
    assert comparison.weights["critical"] > comparison.weights["power_offset"]
    gap = math.exp(comparison.fits["critical"].parameters[1])
    assert SIZES.min() - gap == pytest.approx(600, abs=15)
    assert sum(comparison.weights.values()) == pytest.approx(1)


def test_the_offset_power_law_is_recognised() -> None:
    times = (400 + 1.7e4 * (SIZES / 696) ** -4.5) * _noise(1)
    comparison = compare_laws(SIZES, times, DELAY_LAWS)
    assert comparison.winner == "power_offset"
    assert comparison.fits["power_offset"].parameters[1] == pytest.approx(4.5, abs=0.5)
    assert comparison.fits["critical"].aicc - comparison.fits["power_offset"].aicc > 4


def test_censored_runs_count_as_longer() -> None:
    times = 1e9 * SIZES**-2 * _noise(2)
    budget = 1000.0
    hidden = times > budget
    honest = compare_laws(SIZES, np.minimum(times, budget), {"power": DELAY_LAWS["power"]}, hidden)
    naive = compare_laws(SIZES, np.minimum(times, budget), {"power": DELAY_LAWS["power"]})
    assert honest.fits["power"].parameters[1] == pytest.approx(2.0, abs=0.25)
    assert naive.fits["power"].parameters[1] < 1.7


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("power", lambda s: (s / 10.0) ** -0.4),
        ("stretched_exponential", lambda s: 3 * np.exp(-((s / 300.0) ** 0.5))),
        ("logarithm", lambda s: 5 - 0.5 * np.log(s)),
    ],
)
def test_decays_are_told_apart(name: str, law: object) -> None:
    steps = np.geomspace(10, 5000, 40)
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal(40))
    comparison = compare_laws(steps, law(steps) * noise, DECAY_LAWS)  # type: ignore[operator]
    family = ("power", "power_offset") if name == "power" else (name,)  # an offset of nearly zero is the same law
    assert sum(comparison.weights[member] for member in family) > 0.9


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (SIZES[:5], SIZES[:5], "at least 8 uncensored values to tell laws apart, got 5"),
        (SIZES, -SIZES, "must be positive"),
        (SIZES, SIZES[:5], r"must be \(N,\), got shapes \(27,\) and \(5,\)"),
    ],
)
def test_bad_laws_input_is_named(x: np.ndarray, y: np.ndarray, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        compare_laws(x, y, DELAY_LAWS)


def _escapes(barrier: float, temperatures: np.ndarray, runs: int, seed: int = 0) -> list[Escape]:
    """Exponential escapes at fixed batch size; T = lr / 100."""
    rng = np.random.default_rng(seed)
    means = [(t, np.exp(1.0 + barrier / t)) for t in temperatures for _ in range(runs)]
    return [Escape(float(rng.exponential(m)), 100 * float(t), 100, 0.1) for t, m in means]


def test_a_strong_barrier_comes_back() -> None:
    fit = fit_arrhenius(_escapes(8.0, np.geomspace(0.5, 8, 8), runs=12))
    assert fit.reason == ""
    assert fit.winner == "arrhenius"
    assert abs(fit.barrier - 8.0) < 2 * fit.error
    assert 0 < fit.error < 1


def test_the_standard_error_is_honest() -> None:
    fits = [fit_arrhenius(_escapes(8.0, np.geomspace(0.5, 8, 8), runs=6, seed=s)) for s in range(40)]
    z = [(fit.barrier - 8.0) / fit.error for fit in fits if not fit.reason]
    assert len(z) > 30
    assert np.mean(np.abs(z) < 2) > 0.85


@pytest.mark.parametrize(
    ("escapes", "reason"),
    [
        (_escapes(8.0, np.array([1.0, 8.0]), runs=12), "2 temperatures spanning x8.0, needs 4 spanning x4"),
        (_escapes(8.0, np.geomspace(1, 2, 5), runs=5), "5 temperatures spanning x2.0"),
        (_escapes(8.0, np.geomspace(1, 8, 5), runs=2), "2 runs at a temperature, needs 3"),
        (_escapes(0.1, np.geomspace(1, 8, 5), runs=3), "leads its best rival by"),
        ([e._replace(optimizer="adamw") for e in _escapes(8.0, np.geomspace(1, 8, 5), 3)], "only minibatch SGD"),
        ([e._replace(batch_size=None) for e in _escapes(8.0, np.geomspace(1, 8, 5), 3)], "only minibatch SGD"),
    ],
)
def test_an_unidentifiable_barrier_is_refused(escapes: list[Escape], reason: str) -> None:
    fit = fit_arrhenius(escapes)
    assert math.isnan(fit.barrier)
    assert fit.reason.startswith("not_identifiable: ")
    assert reason in fit.reason


def test_times_inverse_in_the_rate_name_that_law() -> None:
    rng = np.random.default_rng(0)
    cells = [(lr, batch) for lr in (5e-4, 1e-3, 2e-3) for batch in (128, 256, 512, 1024) for _ in range(2)]
    escapes = [Escape(3.15 / lr * math.exp(0.05 * rng.standard_normal()), lr, b, 1.0, "adamw") for lr, b in cells]
    fit = fit_arrhenius(escapes)
    assert fit.winner in ("learning_rate", "norm_contraction")  # one weight decay: the two cannot be told apart
    assert fit.weights["learning_rate"] == pytest.approx(fit.weights["norm_contraction"])
    assert fit.weights["arrhenius"] < 1e-3


def test_both_directions_hold_twice_beta() -> None:
    fallibility, beta = np.array([0.0, 0.7, 1.9]), 1.3
    gaps = fallibility[None] - fallibility[:, None]  # F_j - F_i
    rates = np.exp(-beta * gaps)
    np.fill_diagonal(rates, 0.0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    law = stationary_law(fallibility, beta)
    np.testing.assert_allclose(law @ rates, 0.0, atol=1e-12)  # stationary under the generator
    assert beta_from_ratio(rates[0, 1], rates[1, 0], gaps[0, 1]) == pytest.approx(beta)


@pytest.mark.parametrize(("level", "tolerance"), [(0.05, 0.15), (0.10, 0.12), (0.20, 0.08)])
def test_forecast_from_a_growing_credence(level: float, tolerance: float) -> None:
    steps = np.arange(100.0, 3000, 25)
    rng = np.random.default_rng(0)
    credence = np.clip(sigmoid((steps - 1800) / 180) + 0.002 * rng.standard_normal(len(steps)), 0, 1)
    seen = steps <= steps[np.argmax(credence >= level)]
    forecast = forecast_crossing(steps[seen], credence[seen])
    assert forecast.step == pytest.approx(1800, rel=tolerance)
    assert forecast.low <= 0.75 * forecast.step
    assert forecast.high >= 1.25 * forecast.step
    assert forecast.low <= 1800 <= forecast.high


def test_forecast_of_a_run() -> None:
    steps = np.arange(0, 1251, 25)
    tracker = LandscapeTracker(STRATA)
    for step in steps.tolist():
        tracker.update(step, np.where(STRATA == 0, sigmoid((step - 40) / 10), sigmoid((step - 1500) / 150)))
    forecast = forecast_generalisation(tracker.trajectory, chance=0.02)
    assert forecast.step == pytest.approx(1500, rel=0.15)


def test_forecasts_that_cannot_be_made_say_why() -> None:
    tracker = LandscapeTracker(STRATA)
    tracker.update(0, np.full(512, 0.02))
    assert "train credence has not reached 0.9" in forecast_generalisation(tracker.trajectory, 0.02).reason
    tracker.update(1, np.where(STRATA == 0, 1.0, 0.02))
    assert "only several runs can tell" in forecast_generalisation(tracker.trajectory, 0.02).reason
    steps = np.arange(10.0)
    assert "not rising" in forecast_crossing(steps, np.full(10, 0.3)).reason
    assert "needs 4 evaluations" in forecast_crossing(steps[:2], np.array([0.1, 0.2])).reason
    assert math.isnan(forecast_crossing(steps[:2], np.array([0.1, 0.2])).step)
