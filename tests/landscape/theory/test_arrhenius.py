# SPDX-License-Identifier: Apache-2.0
"""Activation: a planted barrier comes back with an honest error, and is refused where it cannot be told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape.theory import Escape, beta_from_ratio, fit_arrhenius, stationary_law


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
        (
            _escapes(8.0, np.array([1.0, 8.0]), runs=12),
            "2 temperatures over a factor of 8.0 are too few: it takes 4 over a factor of 4",
        ),
        (_escapes(8.0, np.geomspace(1, 2, 5), runs=5), "5 temperatures over a factor of 2.0"),
        (_escapes(8.0, np.geomspace(1, 8, 5), runs=2), "a temperature has 2 runs, and it takes 3"),
        (_escapes(0.1, np.geomspace(1, 8, 5), runs=3), "its AICc leads the best rival's by"),
        ([e._replace(optimizer="adamw") for e in _escapes(8.0, np.geomspace(1, 8, 5), 3)], "only minibatch SGD"),
        ([e._replace(batch_size=None) for e in _escapes(8.0, np.geomspace(1, 8, 5), 3)], "only minibatch SGD"),
    ],
)
def test_an_unidentifiable_barrier_is_refused(escapes: list[Escape], reason: str) -> None:
    fit = fit_arrhenius(escapes)
    assert math.isnan(fit.barrier)
    assert fit.reason.startswith("not_identifiable: ")
    assert reason in fit.reason


def test_escapes_that_never_happened_are_named() -> None:
    escapes = _escapes(8.0, np.geomspace(1, 8, 5), 3)
    with pytest.raises(ValueError, match=r"got 16, of which 1 have others\. Leave out runs that did not escape"):
        fit_arrhenius([*escapes, escapes[0]._replace(time=0.0)])
    with pytest.raises(ValueError, match=r"`escapes` must hold at least 5 escapes, .* got 4"):
        fit_arrhenius(escapes[:4])


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
