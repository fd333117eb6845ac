# SPDX-License-Identifier: Apache-2.0
"""Bootstrap the difference of two accuracies over the queries that both were judged on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
_RESAMPLES = 10_000


def query_interval(won: Sequence[np.ndarray], seed: int) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean difference over queries, which are resampled for all seeds.

    Before resampling, one query won and one query lost are added (Bonett and Price 2012 do the same for the Wald
    interval): without them four queries won of a thousand and none lost would pass for a proof, where the sign test
    gives p = 0.125. Differences take few values, so a resample is a multinomial draw of how often each occurs: the same
    distribution as drawing queries one by one, at a cost that does not grow with their number.

    Args:
        won: For each seed the differences ``(Q,)``, one for each query.
        seed: Of the resampling.
    """
    generator = np.random.default_rng(seed)
    one_split = len({len(w) for w in won}) == 1
    # Seeds that share a split err on the same queries: resampled together they keep that dependence.
    groups = [np.mean(won, axis=0)] if one_split else list(won)
    draws = np.zeros(_RESAMPLES)
    for group in groups:
        values, counts = np.unique(np.append(group, (1.0, -1.0)), return_counts=True)
        total = counts.sum()
        draws += generator.multinomial(total, counts / total, size=_RESAMPLES) @ values / total / len(groups)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail))
    return float(low), float(high)
