# SPDX-License-Identifier: Apache-2.0
"""Bound a mean difference over training seeds and queries, either of which may explain it.

A difference ``d[s, q]`` of seed ``s`` at query ``q`` is a true mean, plus what the seed adds, plus what the query adds,
plus a rest. Seeds that are judged on the same queries share what the queries add, so more seeds do not lower it. Two
half-widths are taken, and the wider one counts, where ``z`` is the normal quantile and ``t`` Student's at its tail:

* queries alone, ``t(units - 1) * units_error``, of the differences averaged over seeds;
* seeds and queries, the root of ``(t(seeds - 1) * seed_error)^2 + (t(units - 1) * shared_error)^2``. The first term has
  all that differs between the means of two seeds, the second what all seeds share. Each error is multiplied by its own
  quantile before the squares are added, which never covers less than is asked, however few the seeds (Banerjee 1960);
  Satterthwaite's degrees of freedom, the usual choice, cover as little as 90 % with two seeds.

One query won and one query lost are added to the variance over queries, as Bonett and Price (2012) do for the Wald
interval: without them four queries won of a thousand and none lost would pass for a proof, where the sign test gives
p = 0.125, and twenty queries answered alike would prove that nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95

_ADDED = 2.0
"""Sum of squares of one unit won and one lost in full."""


@dataclass(frozen=True)
class PairedMean:
    """Hold a mean difference over seeds and units (queries or pairs), and its standard errors by source.

    Attributes:
        difference: Mean over seeds of the mean over units.
        seeds: Number of seeds.
        units: Number of units of a seed; their mean where seeds differ in it.
        units_error: Standard error over units of the differences that are averaged over seeds.
        shared_error: The part of it that all seeds share, so that more seeds would not lower it.
        seed_error: Standard error of the mean over seeds; 0 for one seed, whose training noise is unknown.
        freedom: Degrees of freedom of ``seed_error``.
    """

    difference: float
    seeds: int
    units: float
    units_error: float
    shared_error: float
    seed_error: float
    freedom: float

    def reach(self, z: float, seeds_z: float | None = None) -> float:
        """Return half the width of the interval that covers as much as ``z`` deviations of a normal variable do.

        Args:
            z: Deviations for what the units explain.
            seeds_z: Deviations for what the seeds explain; ``z`` by default.
        """
        over_units = student(z, self.units - 1)
        alone = over_units * self.units_error
        if self.seeds == 1:
            return alone
        over_seeds = student(z if seeds_z is None else seeds_z, self.freedom)
        return max(alone, math.hypot(over_seeds * self.seed_error, over_units * self.shared_error))

    def interval(self, z: float, seeds_z: float | None = None) -> tuple[float, float]:
        """Return the interval over seeds and units, see `reach`; of one seed over units alone."""
        reach = self.reach(z, seeds_z)
        return self.difference - reach, self.difference + reach

    def units_interval(self, z: float) -> tuple[float, float]:
        """Return the interval over units alone: other queries, but the same trained models."""
        reach = student(z, self.units - 1) * self.units_error
        return self.difference - reach, self.difference + reach


def paired_mean(differences: Sequence[Floats]) -> PairedMean:
    """Return the mean difference over seeds and units with its standard errors.

    Args:
        differences: For each seed the differences ``(U,)``, one for each unit. Seeds with equally many units are taken
            to share them; where they do not, what they share is estimated as close to nothing.
    """
    seeds = len(differences)
    means = np.array([values.mean() for values in differences])
    centre = float(means.mean())
    if len({len(values) for values in differences}) == 1:
        table = np.stack(differences)
        units = [table.shape[1]]
        over_units = _units_variance(table.mean(0))
        rest = table - means[:, None] - table.mean(0) + centre
        shared = over_units - (rest**2).sum() / max((seeds - 1) * (units[0] - 1), 1) / table.size
    else:
        units = [len(values) for values in differences]
        over_units, shared = sum(map(_units_variance, differences)) / seeds**2, 0.0
    return PairedMean(
        difference=centre,
        seeds=seeds,
        units=float(np.mean(units)),
        units_error=math.sqrt(over_units),
        shared_error=math.sqrt(max(shared, 0.0)),
        seed_error=float(np.std(means, ddof=1)) / math.sqrt(seeds) if seeds > 1 else 0.0,
        freedom=seeds - 1,
    )


def query_interval(differences: Sequence[Floats], seed: int | None = None) -> tuple[float, float]:
    """Return the 95 % interval of a mean difference over queries alone, as if the same models met other queries.

    Args:
        differences: For each seed the differences ``(Q,)``, one for each query.
        seed: Without effect, because nothing is drawn any more; it goes with the next release.
    """
    return paired_mean(differences).units_interval(deviations(CONFIDENCE))


def seed_interval(means: Sequence[float]) -> tuple[float, float]:
    """Return Student's t interval of the mean over seeds; with one seed the point itself."""
    centre, seeds = float(np.mean(means)), len(means)
    if seeds == 1:
        return centre, centre
    reach = student(deviations(CONFIDENCE), seeds - 1) * float(np.std(means, ddof=1)) / math.sqrt(seeds)
    return centre - reach, centre + reach


def deviations(confidence: float) -> float:
    """Return within how many deviations of its mean a normal variable stays with this probability.

    Example:
        >>> round(deviations(0.95), 2)
        1.96
    """
    from scipy.special import ndtri  # scipy takes a while to import, and is needed only here

    return float(ndtri((1 + confidence) / 2))


def student(z: float, freedom: float) -> float:
    """Return the quantile of Student's t that is exceeded as rarely as ``z`` is by a normal variable.

    Example:
        >>> round(student(1.96, 9), 2), round(student(1.96, 1), 1)
        (2.26, 12.7)
    """
    from scipy.special import ndtr, stdtrit

    return float(-stdtrit(max(freedom, 1.0), ndtr(-z)))


def _units_variance(values: Floats) -> float:
    """Return the squared standard error of a mean over units, with one unit won and one lost added."""
    squares = float(((values - values.mean()) ** 2).sum())
    return (squares + _ADDED) / (len(values) * max(len(values) - 1, 1))
