# SPDX-License-Identifier: Apache-2.0
"""Planted traps: exponents come back pooled over runs, and from the tail of the waiting times."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_monocon.landscape.theory import pooled_exponent, simulate_traps, tail_exponent


@pytest.mark.parametrize("mu", [0.1, 0.3, 0.5, 0.7])
def test_pooled_trap_exponent(mu: float) -> None:
    times = np.geomspace(300, 1e6, 17)
    curves = simulate_traps(mu, times, runs=120, rng=np.random.default_rng(0))
    fit = pooled_exponent(times, curves)
    assert fit.value == pytest.approx(mu, abs=0.05)
    assert fit.interval.low < mu < fit.interval.high
    assert 0 < fit.error < 0.07
    one = pooled_exponent(times, curves[:1])
    assert one.is_refused
    assert "takes 10 runs" in one.reason


def test_small_exponents_are_not_flattened_by_the_first_barriers() -> None:
    """A straight line through the averages is 0.165 for 0.2."""
    times = np.geomspace(1, 1e6, 17)
    curves = simulate_traps(0.2, times, runs=400, rng=np.random.default_rng(1))
    straight = -np.polyfit(np.log(times), np.log(curves).mean(axis=0), 1)[0]
    assert straight < 0.175
    assert pooled_exponent(times, curves).value == pytest.approx(0.2, abs=0.02)


def test_a_decay_that_is_no_power_law_is_refused() -> None:
    times = np.geomspace(1, 300, 15)
    wavy = np.exp(-0.3 * np.log(times) + 0.5 * np.sin(2 * np.log(times)))
    assert "not a power law: log F lies" in pooled_exponent(times, np.repeat(wavy[None], 12, axis=0)).reason
    assert (
        "no traps: fallibility falls with the exponent"
        in pooled_exponent(times, np.repeat(np.exp(-times / 40)[None], 12, axis=0)).reason
    )


def test_trap_exponent_saturates_at_one() -> None:
    times = np.geomspace(300, 3e4, 12)
    curves = simulate_traps(1.5, times, runs=60, rng=np.random.default_rng(0))
    assert pooled_exponent(times, curves).value == pytest.approx(1.0, abs=0.06)


def test_tail_exponent_of_pareto_waits() -> None:
    waits = np.random.default_rng(0).random(5000) ** (-1 / 0.6)
    fit = tail_exponent(waits)
    assert abs(fit.value - 0.6) < 3 * fit.error
    assert tail_exponent(waits[:3]).is_refused
