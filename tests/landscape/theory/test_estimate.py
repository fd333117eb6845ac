# SPDX-License-Identifier: Apache-2.0
"""Power laws come back with an honest error, and what is none is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape.theory import power_law


def test_a_planted_exponent_lies_within_its_error() -> None:
    x, rng = np.geomspace(1, 1000, 60), np.random.default_rng(0)
    fits = [power_law(x, 2 * x**-0.7 * np.exp(0.05 * rng.standard_normal(60))) for _ in range(200)]
    inside = [abs(fit.value + 0.7) < 2 * fit.error for fit in fits]
    assert np.mean(inside) == pytest.approx(0.954, abs=0.05)


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (lambda x: np.exp(-x / 100), "not a power law: local slopes"),
        (lambda x: np.where(x > 500, x, -x), "needs at least 9 positive points, got 6"),
    ],
)
def test_what_is_no_power_law_is_refused(y: object, reason: str) -> None:
    x = np.geomspace(1, 1000, 60)
    fit = power_law(x, y(x))  # type: ignore[operator]
    assert fit.is_refused and math.isnan(fit.value)
    assert fit.reason.startswith(reason)
