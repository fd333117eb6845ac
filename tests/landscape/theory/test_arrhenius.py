# SPDX-License-Identifier: Apache-2.0
"""Activation: a planted barrier comes back with an honest error, and is refused where it cannot be told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape.theory import Escape, beta_from_ratio, fit_arrhenius, stationary_law


def _escapes(
    barrier: float, temperatures: np.ndarray, runs: int, seed: int = 0, budget: float = math.inf
) -> list[Escape]:
    """Exponential escapes at fixed batch size; T = lr / 100. Those beyond the budget are late."""
    rng = np.random.default_rng(seed)
    drawn = [(t, float(rng.exponential(np.exp(1.0 + barrier / t)))) for t in temperatures for _ in range(runs)]
    return [Escape(min(x, budget), 100 * float(t), 100, 0.1, is_late=x > budget) for t, x in drawn]


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
        (_escapes(8.0, np.geomspace(1, 8, 5), runs=2), "a temperature has 2 runs that escaped, and it takes 3"),
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
    with pytest.raises(ValueError, match=r"got 16 seen among 16, of which 1 have others\. Mark .* `is_late`"):
        fit_arrhenius([*escapes, escapes[0]._replace(time=0.0)])
    with pytest.raises(
        ValueError, match=r"`escapes` must hold at least 5 escapes that were seen, .* got 4 seen among 5"
    ):
        fit_arrhenius([*escapes[:4], escapes[4]._replace(is_late=True)])


def test_late_escapes_are_censored_and_not_left_out() -> None:
    """Each temperature has late escapes but the hottest two; without them the cold end looks faster than it is."""
    kept, dropped = [], []
    for seed in range(12):
        escapes = _escapes(8.0, np.geomspace(1, 8, 5), runs=12, seed=seed, budget=4000.0)
        assert any(e.is_late for e in escapes)
        kept.append(fit_arrhenius(escapes))
        dropped.append(fit_arrhenius([e for e in escapes if not e.is_late]))
    kept, dropped = ([fit for fit in fits if not fit.reason] for fits in (kept, dropped))
    assert len(kept) >= 8
    assert np.mean([fit.barrier for fit in kept]) == pytest.approx(8.0, rel=0.05)
    assert np.mean([fit.barrier for fit in dropped]) < 7.4
    assert np.mean([abs(fit.barrier - 8.0) < 2 * fit.error for fit in kept]) > 0.8


def test_times_inverse_in_the_rate_name_that_law() -> None:
    rng = np.random.default_rng(0)
    cells = [(lr, batch) for lr in (5e-4, 1e-3, 2e-3) for batch in (128, 256, 512, 1024) for _ in range(2)]
    escapes = [Escape(3.15 / lr * math.exp(0.05 * rng.standard_normal()), lr, b, 1.0, "adamw") for lr, b in cells]
    fit = fit_arrhenius(escapes)
    assert fit.winner == "learning_rate"
    assert "norm_contraction" not in fit.weights  # one weight decay: the two are one law
    assert fit.weights["arrhenius"] < 1e-3
    other = [
        e._replace(time=e.time * (2.0 if i % 2 else 1.0), weight_decay=1 - i % 2 / 2) for i, e in enumerate(escapes)
    ]
    assert fit_arrhenius(other).winner == "norm_contraction"


def test_both_directions_hold_twice_beta() -> None:
    fallibility, beta = np.array([0.0, 0.7, 1.9]), 1.3
    gaps = fallibility[None] - fallibility[:, None]  # F_j - F_i
    rates = np.exp(-beta * gaps)
    np.fill_diagonal(rates, 0.0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    law = stationary_law(fallibility, beta)
    np.testing.assert_allclose(law @ rates, 0.0, atol=1e-12)  # stationary under the generator
    assert beta_from_ratio(rates[0, 1], rates[1, 0], gaps[0, 1]) == pytest.approx(beta)
    assert beta_from_ratio(3 * rates[0, 1], rates[1, 0], gaps[0, 1]) == pytest.approx(beta - math.log(3) / (2 * 0.7))


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_detailed_balance_takes_a_symmetric_prefactor(is_symmetric: bool) -> None:
    fallibility, beta = np.array([0.0, 0.7, 1.9]), 1.3
    prefactor = np.random.default_rng(0).uniform(0.2, 5, (3, 3))
    rates = (prefactor + prefactor.T if is_symmetric else prefactor) * np.exp(
        -beta * (fallibility[None] - fallibility[:, None])
    )
    np.fill_diagonal(rates, 0.0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    flow = np.abs(stationary_law(fallibility, beta) @ rates).max()
    assert flow < 1e-12 if is_symmetric else flow > 0.05
