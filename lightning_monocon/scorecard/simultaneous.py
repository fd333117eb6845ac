# SPDX-License-Identifier: Apache-2.0
"""Widen intervals so that a whole card of equal arms claims a winner in at most one case of twenty.

The best of several arms is chosen on the queries that then test its lead, at many sizes. So the comparisons of a card
are judged together: of all pairs of arms at all sizes, the largest difference in units of its own error stays below one
critical value in 95 % of the cards of equal arms (max-t; Westfall and Young 1993). Which arm is best does not matter
then, as every pair was counted. Arms and sizes that answer the same queries alike hardly add to the critical value.

Two or three seeds tell too little of their own error for this: Student's t at one in a thousand is 22 with two degrees
of freedom. So two things are taken as given, and `benchmarks/scorecard_error_rates.py` shows what happens without them:

* The seeds of all arms vary alike. Their error is estimated from all arms at a size, with ``(A - 1) (S - 1)`` degrees
  of freedom, unless the two arms in question differ more.
* A run that is off is partly off at all sizes. Its critical value lies halfway between that of one size, which is right
  if a run is off by the same everywhere, and that of all sizes, which is right if it is off independently at each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lightning_monocon.functional.paired_mean import CONFIDENCE, Floats, PairedMean, deviations

_DRAWS = 10_000

Table = Sequence[Floats]
"""For each seed the values ``(A, Q)`` of all arms at one size."""


@dataclass(frozen=True)
class Critical:
    """Hold the deviations within which all differences of equal arms stay together in 95 % of the cards.

    Attributes:
        units: For what queries explain.
        seeds: For what seeds explain.
    """

    units: float
    seeds: float


def critical_values(sizes: Sequence[Table], seed: int = 0) -> Critical:
    """Return the critical values of a card, at least the 1.96 of a single comparison.

    The errors are drawn from the normal distribution with the covariance of the arms over queries, at all sizes at
    once.

    Args:
        sizes: For each size the values of its arms; all sizes have the same seeds and queries.
        seed: Of the draws.
    """
    lone = deviations(CONFIDENCE)
    rivals = [table for table in sizes if len(table[0]) > 1]
    if not rivals:
        return Critical(lone, lone)
    errors = _draws([np.concatenate([table[s] for table in rivals]) for s in range(len(rivals[0]))], seed)
    cuts = np.cumsum([len(table[0]) for table in rivals])[:-1]
    largest = np.array([_largest(own) for own in np.split(errors, cuts, axis=1)])
    one = max(lone, float(np.quantile(largest, CONFIDENCE, axis=1).max()))
    every = max(lone, float(np.quantile(largest.max(0), CONFIDENCE)))
    return Critical(every, (one + every) / 2)


def with_seeds_of_all(means: Sequence[PairedMean], table: Table) -> list[PairedMean]:
    """Return differences of two arms with the seeds' error of all arms at their size, unless their own is larger."""
    seeds, arms = len(table), len(table[0])
    if seeds == 1 or arms <= 2:
        return list(means)
    shares = np.array([values.mean(1) for values in table])  # (S, A)
    rest = shares - shares.mean(0) - shares.mean(1, keepdims=True) + shares.mean()
    freedom = (seeds - 1) * (arms - 1)
    pooled = math.sqrt(2 * float((rest**2).sum()) / freedom / seeds)
    return [replace(mean, seed_error=max(mean.seed_error, pooled), freedom=freedom) for mean in means]


def table_of(values: Mapping[str, Sequence[Floats]]) -> Table:
    """Return the values of all arms, given for each arm and seed, as one array for each seed."""
    return [np.stack(rows) for rows in zip(*values.values(), strict=True)]


def _covariance(columns: Sequence[Floats]) -> Floats:
    """Return the covariance over queries of the columns' means over seeds and queries."""
    if len({values.shape[1] for values in columns}) == 1:
        columns = [np.mean(columns, axis=0)]
    parts = [np.atleast_2d(np.cov(values)) / values.shape[1] for values in columns if values.shape[1] > 1]
    return np.sum(parts, axis=0) / len(columns) ** 2 if parts else np.zeros((len(columns[0]),) * 2)


def _draws(columns: Sequence[Floats], seed: int) -> Floats:
    """Draw errors of the columns' means from the normal distribution, ``(draws, C)``."""
    values, vectors = np.linalg.eigh(_covariance(columns))
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    root = vectors[:, kept] * np.sqrt(values[kept])
    return np.asarray(np.random.default_rng(seed).standard_normal((_DRAWS, root.shape[1])) @ root.T)


def _largest(errors: Floats) -> Floats:
    """Return for each draw the largest difference between two arms, in deviations of that difference."""
    first, second = map(list, zip(*combinations(range(errors.shape[1]), 2), strict=True))
    differences = np.abs(errors[:, first] - errors[:, second])
    scale = np.sqrt((differences**2).mean(0))
    return np.asarray((differences / np.where(scale > 0, scale, np.inf)).max(1))
