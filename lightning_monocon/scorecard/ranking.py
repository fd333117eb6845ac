# SPDX-License-Identifier: Apache-2.0
"""Name the best arm at each number of kept dimensions, and say whether its lead is more than noise.

Two arms are compared in pairs: the same seed (so the same split) and the same query. Both may explain a difference:

* Queries and seeds: one interval over both (`lightning_monocon.functional.paired_mean`). One seed says nothing about
  training noise, two say next to nothing, and a report on one or two seeds must say so.
* Choice: the best arm is chosen on the queries that test it, at many sizes. So an arm is ahead only if its lead is also
  larger than any that a card of equal arms shows in 95 % of the cases (`lightning_monocon.scorecard.simultaneous`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from torch import Tensor

from lightning_monocon.functional.paired_mean import CONFIDENCE, Floats, PairedMean, deviations, paired_mean
from lightning_monocon.functional.paired_mean import query_interval as query_interval  # for those who import it here
from lightning_monocon.scorecard.frontier import Held, Measure
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.simultaneous import Critical, critical_values, table_of, with_seeds_of_all

Storages = tuple[Held, Held]
FLOATS: Storages = ("float32", "float32")
"""How the coordinates of the two arms of a comparison are kept."""


@dataclass(frozen=True)
class Comparison:
    """Hold the accuracy of ``arm`` at ``k`` kept dimensions minus that of ``other`` at ``other_k``.

    Attributes:
        difference: Mean over seeds and queries, as a share (0.01 is one point).
        low: Lower end of the 95 % interval of this comparison alone, over seeds and queries.
        high: Its upper end.
        seeds: Number of paired seeds.
        query_interval: The interval over queries alone, which is never wider than ``low`` to ``high``.
        simultaneous: The interval that holds for all comparisons of a card together; ``low`` and ``high`` of one that
            belongs to no card.
        storages: Storage types of the coordinates of ``arm`` and of ``other``.
        errors: The difference with its standard errors over queries and over seeds.
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
    simultaneous: tuple[float, float]
    errors: PairedMean
    storages: Storages = FLOATS

    @property
    def ahead(self) -> bool:
        """Whether ``arm`` is better by more than the noise, alone and among all comparisons of the card."""
        return min(self.low, self.simultaneous[0]) > 0

    @property
    def behind(self) -> bool:
        """Whether ``other`` is better by more than the noise."""
        return max(self.high, self.simultaneous[1]) < 0

    @property
    def distinguishable(self) -> bool:
        """Whether either arm is better by more than the noise; for a lead ask ``ahead``."""
        return self.ahead or self.behind


@dataclass(frozen=True)
class Form:
    """Hold one way to store an arm's vectors, and the accuracy it gives.

    Attributes:
        storage: Storage type of its coordinates, or ``"code"``.
        k: Coordinates at most; bytes of a code.
        accuracy: Mean over the seeds.
        code: Name of a code.
    """

    storage: Held
    k: int
    accuracy: float
    code: str = ""


@dataclass(frozen=True, eq=False)
class Family:
    """Hold the arms and the critical values of all comparisons that a card makes between them; see `family`.

    Attributes:
        arms: For each arm its scores on the seeds that all arms have.
        critical: What a lead must exceed, in deviations.
        measure: What is compared.
    """

    arms: Mapping[str, Sequence[Score]]
    critical: Critical
    measure: Measure | None

    def intervals(self, means: Sequence[PairedMean], forms: Mapping[str, Form]) -> list[tuple[float, float]]:
        """Return the intervals of differences that hold together with those of all other comparisons.

        Args:
            means: Differences of two arms at one size.
            forms: What all arms keep at that size.
        """
        widened = with_seeds_of_all(means, table_of(_values_of(self.arms, forms, self.measure)))
        return [mean.interval(self.critical.units, self.critical.seeds) for mean in widened]


@dataclass(frozen=True)
class Winner:
    """Hold the best arm at a budget of ``k`` dimensions, with its margin over every other arm.

    Attributes:
        accuracy: Mean over the seeds that all arms share.
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
        """Arms that the winner is not ahead of by more than the noise, best first."""
        return tuple(margin.other for margin in self.margins if not margin.ahead)


def compare(
    arm: Sequence[Score],
    other: Sequence[Score],
    k: int,
    other_k: int | None = None,
    measure: Measure | None = None,
    storages: Storages = FLOATS,
    card: Family | None = None,
) -> Comparison:
    """Compare two arms, paired by seed and by query, each within its budget of dimensions.

    Args:
        arm: Scores of one arm, one per seed.
        other: Scores of the other arm; seeds that only one of them has are left out.
        k: Dimensions that ``arm`` may keep.
        other_k: Dimensions that ``other`` may keep; ``k`` by default.
        measure: What is compared; the first measure of their truth by default.
        storages: Storage types of the coordinates of the two.
        card: All comparisons of the card that this one belongs to; None if it stands alone.

    Raises:
        ValueError: If the arms share no seed, or were judged on other queries.
    """
    pairs = _pairs(arm, other)
    other_k = k if other_k is None else other_k
    ours, theirs = storages
    mean = paired_mean([_values(a, k, measure, ours) - _values(b, other_k, measure, theirs) for a, b in pairs])
    z = deviations(CONFIDENCE)
    low, high = mean.interval(z)
    return Comparison(
        arm=arm[0].arm,
        k=k,
        other=other[0].arm,
        other_k=other_k,
        difference=mean.difference,
        low=low,
        high=high,
        seeds=mean.seeds,
        query_interval=mean.units_interval(z),
        simultaneous=card.intervals([mean], float_forms(card.arms, k, measure))[0] if card else (low, high),
        errors=mean,
        storages=storages,
    )


def winner(
    arms: Mapping[str, Sequence[Score]],
    k: int,
    measure: Measure | None = None,
    seed: int = 0,
    card: Family | None = None,
) -> Winner:
    """Name the arm with the highest mean accuracy at ``k`` dimensions; of equals, the one that is listed first.

    Args:
        arms: For each arm its scores, one per seed; seeds that not all arms have are left out.
        k: Dimensions that each arm may keep.
        measure: What is compared; the first measure of their truth by default.
        seed: Of the draws behind the critical value.
        card: All comparisons of the card; those at this size by default.

    Raises:
        ValueError: If no seed is shared by all arms, or the arms were judged on different queries.
    """
    arms = on_shared_seeds(arms)
    forms = float_forms(arms, k, measure)
    first, margins = ranked(forms, card or family(arms, [forms], measure, seed))
    return Winner(k=k, arm=first, accuracy=forms[first].accuracy, margins=margins)


def code_name(scores: Sequence[Score], budget: int) -> str:
    """Return the best code of an arm within ``budget`` bytes; every seed has its own, and most of them this one."""
    names = [score.codes.names[score.codes.index(budget)] for score in scores if score.codes is not None]
    return Counter(names).most_common(1)[0][0]


def float_forms(arms: Mapping[str, Sequence[Score]], k: int, measure: Measure | None = None) -> dict[str, Form]:
    """Return the form of each arm that keeps at most ``k`` float32 coordinates, with its mean accuracy over seeds."""
    return {
        name: Form("float32", k, float(np.mean([_values(score, k, measure, "float32").mean() for score in scores])))
        for name, scores in arms.items()
    }


def family(
    arms: Mapping[str, Sequence[Score]],
    sizes: Sequence[Mapping[str, Form]],
    measure: Measure | None = None,
    seed: int = 0,
) -> Family:
    """Return all comparisons between arms at the given sizes, with what a lead must exceed to be more than noise.

    Args:
        arms: For each arm its scores, one per seed; seeds that not all arms have are left out.
        sizes: For each size the forms of the arms that it fits.
        measure: What is compared.
        seed: Of the draws behind the critical values.

    Raises:
        ValueError: If no seed is shared by all arms, or the arms were judged on different queries.
    """
    arms = on_shared_seeds(arms)
    tables = [table_of(_values_of(arms, forms, measure)) for forms in sizes if forms]
    return Family(arms, critical_values(tables, seed), measure)


def ranked(forms: Mapping[str, Form], card: Family) -> tuple[str, tuple[Comparison, ...]]:
    """Return the arm whose form is most accurate, and its margins over the others, the runner-up first.

    Args:
        forms: The forms that compete, one for each arm.
        card: All comparisons of the card.
    """
    first, *rest = sorted(forms, key=lambda name: -forms[name].accuracy)
    best, arms = forms[first], card.arms
    alone = [
        compare(arms[first], arms[name], best.k, forms[name].k, card.measure, (best.storage, forms[name].storage))
        for name in rest
    ]
    together = card.intervals([one.errors for one in alone], forms)
    return first, tuple(replace(one, simultaneous=ends) for one, ends in zip(alone, together, strict=True))


def on_shared_seeds(arms: Mapping[str, Sequence[Score]]) -> dict[str, list[Score]]:
    """Return the scores of the seeds that all arms have: means over different seeds are not comparable.

    Raises:
        ValueError: If there is no such seed, or two arms were judged on different queries.
    """
    shared = reduce(set.intersection, ({score.seed for score in scores} for scores in arms.values()))
    if not shared:
        seeds = "; ".join(f"{name} has {sorted(score.seed for score in scores)}" for name, scores in arms.items())
        raise ValueError(f"`arms` must share a seed to be ranked; {seeds}: leave out the arm that lacks the others'.")
    kept = {
        name: sorted((score for score in scores if score.seed in shared), key=lambda score: score.seed)
        for name, scores in arms.items()
    }
    first, *others = kept.values()
    for scores in others:
        _pairs(first, scores)
    return kept


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


def hits(score: Score, k: int, measure: Measure | None = None, dtype: Held = "float32") -> Tensor:
    """Return the numbers ``(U,)`` of a measure, one a unit, within ``k`` dimensions kept in storage type ``dtype``.

    Raises:
        ValueError: If the storage type was not measured.
    """
    line = score.line(dtype)
    if line is None:
        raise ValueError(f"`storages` must have been measured; {score.arm} has no {dtype} vectors: rounded=True.")
    return line.hits(measure)[line.index(k)]


def _values(score: Score, k: int, measure: Measure | None, storage: Held) -> Floats:
    return np.asarray(hits(score, k, measure, storage).double().numpy())


def _values_of(
    arms: Mapping[str, Sequence[Score]], forms: Mapping[str, Form], measure: Measure | None
) -> dict[str, list[Floats]]:
    """Return the values of each arm in its form, for each seed ``(Q,)``."""
    return {name: [_values(s, form.k, measure, form.storage) for s in arms[name]] for name, form in forms.items()}
