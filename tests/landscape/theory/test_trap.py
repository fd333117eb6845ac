# SPDX-License-Identifier: Apache-2.0
"""Planted traps: exponents come back pooled over runs, and from the tail of the waiting times."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_monocon.landscape.theory import pooled_exponent, simulate_traps, tail_exponent


@pytest.mark.parametrize("mu", [0.3, 0.5, 0.7])
def test_pooled_trap_exponent(mu: float) -> None:
    times = np.geomspace(300, 1e6, 17)
    curves = simulate_traps(mu, times, runs=120, rng=np.random.default_rng(0))
    fit = pooled_exponent(times, curves)
    assert fit.value == pytest.approx(mu, abs=0.05)
    assert 0 < fit.error < 0.03
    one = pooled_exponent(times, curves[:1])
    assert one.is_refused
    assert "takes 10 runs" in one.reason


def test_trap_exponent_saturates_at_one() -> None:
    times = np.geomspace(300, 3e4, 12)
    curves = simulate_traps(1.5, times, runs=60, rng=np.random.default_rng(0))
    assert pooled_exponent(times, curves).value == pytest.approx(1.0, abs=0.06)


def test_tail_exponent_of_pareto_waits() -> None:
    waits = np.random.default_rng(0).random(5000) ** (-1 / 0.6)
    fit = tail_exponent(waits)
    assert abs(fit.value - 0.6) < 3 * fit.error
    assert tail_exponent(waits[:3]).is_refused
