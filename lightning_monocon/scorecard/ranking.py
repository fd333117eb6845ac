# SPDX-License-Identifier: Apache-2.0
"""Name the best arm at each number of kept dimensions, and say whether its lead is more than noise.

Two arms are compared in pairs: the same seed (so the same split) and the same query. There are two sources of noise,
and a difference counts only if neither explains it; the interval shown is the hull of both.

* Queries: a bootstrap, all seeds together (`lightning_monocon.functional.bootstrap`).
* Seeds: Student's t interval over the mean difference of each seed, from two seeds on. One seed says nothing about
  training noise, and a report on one seed must say so.

Each size is judged alone at 95 %: of twenty comparisons between equal arms, one is expected to look distinguishable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lightning_monocon.functional.bootstrap import CONFIDENCE, query_interval
from lightning_monocon.functional.quantisation import Storage
from lightning_monocon.scorecard.frontier import Measure
from lightning_monocon.scorecard.scores import Score

Storages = tuple[Storage, Storage]
FLOATS: Storages = ("float32", "float32")
"""How the coordinates of the two arms of a comparison are kept."""


@dataclass(frozen=True)
class Comparison:
    """Hold the accuracy of ``arm`` at ``k`` kept dimensions minus that of ``other`` at ``other_k``.

    Attributes:
        difference: Mean over seeds and queries, as a share (0.01 is one point).
        low: Lower end of the interval.
        high: Upper end of the interval.
        seeds: Number of paired seeds.
        query_interval: The interval over queries alone, which is never wider than ``low`` to ``high``.
        storages: Storage types of the coordinates of ``arm`` and of ``other``.
    """

    arm: str
    k: int
    other: str
    other_k: int
    difference: float
    low: float
    high: float
    seeds: int
    query_interval: tuple[float, float]
    storages: Storages = FLOATS

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Form:
    """Hold one way to store an arm's vectors: at most ``k`` coordinates in ``storage``, and the accuracy it gives."""

    storage: Storage
    k: int
    accuracy: float


@dataclass(frozen=True)
class Winner:
    """Hold the best arm at a budget of ``k`` dimensions, with its margin over every other arm.

    Attributes:
        accuracy: Mean over seeds.
        margins: Winner against each other arm, the runner-up first.
    """

    k: int
    arm: str
    accuracy: float
    margins: tuple[Comparison, ...]

    @property
    def runner_up(self) -> str | None:
        """The second best arm; None if there is only one."""
        return self.margins[0].other if self.margins else None

    @property
    def distinguishable(self) -> bool:
        """Whether the winner is ahead of every other arm by more than the noise."""
        return bool(self.margins) and not self.ties

    @property
    def ties(self) -> tuple[str, ...]:
        """Arms that are within the noise of the winner, best first."""
        return tuple(margin.other for margin in self.margins if not margin.distinguishable)


def compare(
    arm: Sequence[Score],
    other: Sequence[Score],
    k: int,
    other_k: int | None = None,
    measure: Measure | None = None,
    seed: int = 0,
    storages: Storages = FLOATS,
) -> Comparison:
    """Compare two arms, paired by seed and by query, each within its budget of dimensions.

    Args:
        arm: Scores of one arm, one per seed.
        other: Scores of the other arm; seeds that only one of them has are left out.
        k: Dimensions that ``arm`` may keep.
        other_k: Dimensions that ``other`` may keep; ``k`` by default.
        measure: What is compared; the first measure of their truth by default.
        seed: Of the resampling, which is the same for every call.
        storages: Storage types of the coordinates of the two.

    Raises:
        ValueError: If the arms share no seed, or were judged on other queries.
    """
    pairs = _pairs(arm, other)
    other_k = k if other_k is None else other_k
    ours, theirs = storages
    won = [hits(a, k, measure, ours).double() - hits(b, other_k, measure, theirs).double() for a, b in pairs]
    means = [float(differences.mean()) for differences in won]
    queries = query_interval([w.numpy() for w in won], seed)
    seeds = seed_interval(means)
    return Comparison(
        arm=arm[0].arm,
        k=k,
        other=other[0].arm,
        other_k=other_k,
        difference=float(np.mean(means)),
        low=min(queries[0], seeds[0]),
        high=max(queries[1], seeds[1]),
        seeds=len(pairs),
        query_interval=queries,
        storages=storages,
    )


def seed_interval(means: Sequence[float]) -> tuple[float, float]:
    """Return Student's t interval of the mean over seeds; with one seed the point itself."""
    from scipy.stats import t  # half a second to import, and needed only here

    centre, seeds = float(np.mean(means)), len(means)
    if seeds == 1:
        return centre, centre
    reach = float(t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * np.std(means, ddof=1) / seeds**0.5)
    return centre - reach, centre + reach


def winner(arms: Mapping[str, Sequence[Score]], k: int, measure: Measure | None = None, seed: int = 0) -> Winner:
    """Name the arm with the highest mean accuracy at ``k`` dimensions; of equals, the one that is listed first.

    Args:
        arms: For each arm its scores, one per seed.
        k: Dimensions that each arm may keep.
        measure: What is compared; the first measure of their truth by default.
        seed: Of the resampling.
    """
    forms = {name: Form("float32", k, float(np.mean([_share(s, k, measure) for s in arms[name]]))) for name in arms}
    first, margins = ranked(arms, forms, measure, seed)
    return Winner(k=k, arm=first, accuracy=forms[first].accuracy, margins=margins)


def ranked(
    arms: Mapping[str, Sequence[Score]], forms: Mapping[str, Form], measure: Measure | None = None, seed: int = 0
) -> tuple[str, tuple[Comparison, ...]]:
    """Return the arm whose form is most accurate, and its margins over the others, the runner-up first."""
    first, *rest = sorted(forms, key=lambda name: -forms[name].accuracy)
    best = forms[first]
    return first, tuple(
        compare(arms[first], arms[name], best.k, forms[name].k, measure, seed, (best.storage, forms[name].storage))
        for name in rest
    )


def _pairs(arm: Sequence[Score], other: Sequence[Score]) -> list[tuple[Score, Score]]:
    rivals = {score.seed: score for score in other}
    pairs = [(score, rivals[score.seed]) for score in arm if score.seed in rivals]
    if not pairs:
        raise ValueError(
            f"`arm` and `other` must share a seed to be compared in pairs; {arm[0].arm} has "
            f"{[s.seed for s in arm]}, {other[0].arm} has {sorted(rivals)}."
        )
    for a, b in pairs:
        if a.truth.key != b.truth.key:
            raise ValueError(
                f"`arm` and `other` must be judged on the same queries; {a.arm} and {b.arm} differ in the "
                f"{a.truth.name} of seed {a.seed}: embed one split in one order."
            )
    return pairs


def hits(score: Score, k: int, measure: Measure | None = None, dtype: Storage = "float32") -> Tensor:
    """Return the numbers ``(U,)`` of a measure, one a unit, within ``k`` dimensions kept in storage type ``dtype``.

    Raises:
        ValueError: If the storage type was not measured.
    """
    line = score.line(dtype)
    if line is None:
        raise ValueError(f"`storages` must have been measured; {score.arm} has no {dtype} vectors: rounded=True.")
    return line.hits(measure)[line.index(k)]


def _share(score: Score, k: int, measure: Measure | None) -> float:
    return float(hits(score, k, measure).double().mean())
