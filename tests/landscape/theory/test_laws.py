# SPDX-License-Identifier: Apache-2.0
"""Laws: planted parameters come back, rivals are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_monocon.landscape.theory import DECAY_LAWS, DELAY_LAWS, compare_laws, critical_size

SIZES = np.repeat([696, 765, 870, 1044, 1218, 1392, 1566, 1740, 2088], 3).astype(float)


def _noise(seed: int, sigma: float = 0.1) -> np.ndarray:
    return np.exp(sigma * np.random.default_rng(seed).standard_normal(len(SIZES)))


def test_the_critical_law_is_recognised() -> None:
    times = 6e5 / (SIZES - 600) * _noise(0)
    comparison = compare_laws(SIZES, times, DELAY_LAWS)
    assert comparison.winner == comparison.best == "critical"
    assert comparison.lead == pytest.approx(comparison.fits["power_offset"].aicc - comparison.fits["critical"].aicc)
    assert comparison.lead > 4
    assert sum(comparison.weights.values()) == pytest.approx(1)


def test_the_critical_size_comes_with_an_interval_in_samples() -> None:
    found = [critical_size(SIZES, 6e5 / (SIZES - 600) * _noise(seed)) for seed in range(6)]
    assert np.mean([size.estimate for size in found]) == pytest.approx(600, abs=10)
    assert sum(size.low <= 600 <= size.high for size in found) >= 5
    assert all(10 < size.high - size.low < 100 for size in found)


def test_the_critical_size_is_not_negative() -> None:
    """Times fall more slowly than 1 / D, as a critical size of less than nothing would have it."""
    size = critical_size(SIZES, 1e4 * SIZES**-0.5 * _noise(0))
    assert size.low == 0
    assert 0 <= size.estimate < 10


def test_sizes_that_never_generalise_may_lie_below_the_critical_size() -> None:
    delays = np.where(SIZES > 1000, 6e5 / np.abs(SIZES - 1000), np.inf) * _noise(1)
    size = critical_size(SIZES, np.minimum(delays, 8000), censored=delays > 8000)
    assert size.low < 1000 < size.high
    assert size.high < 1044  # the smallest size that generalised


def test_laws_that_say_the_same_are_undecided() -> None:
    """With no critical size the critical law is a power law: which of the two it is cannot be said."""
    comparison = compare_laws(SIZES, 6e5 / SIZES * _noise(0), DELAY_LAWS)
    assert comparison.winner == "undecided"
    assert comparison.best in DELAY_LAWS
    assert comparison.lead < 4


def test_a_law_does_not_have_to_lead_those_that_contain_it() -> None:
    comparison = compare_laws(SIZES, 1e9 * SIZES**-2 * _noise(1), DELAY_LAWS)
    assert comparison.winner == "power"
    assert comparison.fits["power_offset"].aicc - comparison.fits["power"].aicc < 4


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
