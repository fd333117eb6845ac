# SPDX-License-Identifier: Apache-2.0
"""Laws: planted parameters come back, rivals are told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape.theory import DECAY_LAWS, DELAY_LAWS, compare_laws

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
