# SPDX-License-Identifier: Apache-2.0
"""Garwood intervals against Poisson tails, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from lightning_monocon.landscape import garwood_interval


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
def test_garwood_bounds_are_the_poisson_tails(count: int) -> None:
    low, estimate, high = garwood_interval(count, 50.0)
    assert estimate == count / 50.0
    below = optimize.brentq(lambda m: stats.poisson.sf(count - 1, m) - 0.025, 1e-6, 100)
    above = optimize.brentq(lambda m: stats.poisson.cdf(count, m) - 0.025, 1e-6, 100)
    np.testing.assert_allclose([low * 50, high * 50], [below, above], rtol=1e-8)


@pytest.mark.parametrize("mean", [1.0, 2.0, 5.0, 10.0])
def test_garwood_covers(mean: float) -> None:
    """Exact coverage over Poisson counts is at least 0.95."""
    counts = np.arange(80)
    bounds = [garwood_interval(int(n), 1.0) for n in counts]
    covered = [b.low <= mean <= b.high for b in bounds]
    assert stats.poisson.pmf(counts, mean)[covered].sum() >= 0.95 - 1e-9


@pytest.mark.parametrize("exits", [1, 2, 3, 5, 10])
def test_garwood_covers_when_dwells_are_observed(exits: int) -> None:
    """With the number of exits fixed and the dwell random, coverage is .93 to .97; .971 at one exit, in closed form."""
    rng = np.random.default_rng(exits)
    dwell = rng.exponential(30.0, (4000, exits)).sum(axis=1)
    low, high = stats.chi2.ppf(0.025, 2 * exits) / 2, stats.chi2.ppf(0.975, 2 * exits + 2) / 2
    unit = garwood_interval(exits, 1.0)
    np.testing.assert_allclose([unit.low, unit.high], [low, high])
    # counts observed in a fixed time, continuous-time process: the coverage of the lower tail is exact
    assert (unit.low / dwell > 1 / 30).mean() == pytest.approx(0.025, abs=0.01)
    assert (unit.high / dwell < 1 / 30).mean() <= 0.025 + 0.01
    covered = ((unit.low / dwell <= 1 / 30) & (unit.high / dwell >= 1 / 30)).mean()
    exact = stats.chi2.cdf(stats.chi2.ppf(0.975, 2 * exits + 2), 2 * exits) - 0.025
    assert 0.93 <= exact <= (0.972 if exits == 1 else 0.97)
    assert covered == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(("count", "exposure"), [(-1, 1.0), (1, 0.0)])
def test_impossible_counts_are_named(count: int, exposure: float) -> None:
    with pytest.raises(ValueError, match="`count` must be >= 0, `exposure` > 0"):
        garwood_interval(count, exposure)
