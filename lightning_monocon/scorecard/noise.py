# SPDX-License-Identifier: Apache-2.0
"""Two sources of noise in a difference of accuracies: which queries were drawn, and which seeds.

* Queries are resampled with replacement, all seeds together. Before resampling, one query won and one query lost are
  added (Bonett and Price 2012 do the same for the Wald interval): without them four queries won of a thousand and none
  lost would pass for a proof, where the sign test gives p = 0.125.
* Seeds: Student's t interval over the mean difference of each seed, from two seeds on. One seed says nothing about
  training noise, and a report on one seed must say so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000


def query_interval(won: Sequence[np.ndarray], seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean difference over queries.

    Differences take few values, so a resample is a multinomial draw of how often each occurs: the same distribution
    as drawing queries one by one, at a cost that does not grow with their number.
    """
    generator = np.random.default_rng(seed)
    one_split = len({len(w) for w in won}) == 1
    # Seeds that share a split err on the same queries: resampled together they keep that dependence.
    groups = [np.mean(won, axis=0)] if one_split else list(won)
    draws = np.zeros(RESAMPLES)
    for group in groups:
        values, counts = np.unique(np.append(group, (1.0, -1.0)), return_counts=True)
        total = counts.sum()
        draws += generator.multinomial(total, counts / total, size=RESAMPLES) @ values / total / len(groups)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail))
    return float(low), float(high)


def seed_interval(means: Sequence[float]) -> tuple[float, float]:
    """Student's t interval over seeds; with one seed only the point itself."""
    from scipy.stats import t  # half a second to import, and needed only here

    centre, seeds = float(np.mean(means)), len(means)
    if seeds == 1:
        return centre, centre
    reach = float(t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * np.std(means, ddof=1) / seeds**0.5)
    return centre - reach, centre + reach
