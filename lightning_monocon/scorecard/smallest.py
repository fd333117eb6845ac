# SPDX-License-Identifier: Apache-2.0
"""Find the fewest bytes at which an embedding is still within the noise of the whole baseline.

A form is an arm, a storage type and a number of kept coordinates, as the frontiers measured them. It is within the
noise unless the queries alone show a loss: as in the verdicts, two seeds that disagree must not pass a loss off as
noise. That no loss is shown does not prove that there is none, so the interval is always reported with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import get_args

from lightning_monocon.functional.quantisation import Storage, vector_bytes
from lightning_monocon.scorecard.ranking import Comparison, Form, compare
from lightning_monocon.scorecard.scores import Score


@dataclass(frozen=True)
class Smallest:
    """Hold the smallest form within the noise of the whole baseline, or the nearest form if none is.

    Attributes:
        arm: Whose vectors they are; the baseline's own may be the smallest, too.
        storage: Storage type of a coordinate.
        k: Coordinates.
        bytes: Of one vector.
        accuracy: Mean over the seeds that the baseline has too.
        within: Whether the form is within the noise; if not, no smaller one than the whole is, and this one is nearest.
        margin: The form against the whole baseline.
        whole: The baseline's vectors as they are: coordinates, bytes and accuracy.
        storages: Storage types that were measured.
    """

    arm: str
    storage: Storage
    k: int
    bytes: int
    accuracy: float
    within: bool
    margin: Comparison
    whole: tuple[int, int, float]
    storages: tuple[Storage, ...]


def smallest_form(arms: Mapping[str, Sequence[Score]], baseline: str) -> Smallest | None:
    """Return the smallest form within the noise; None if nothing smaller was measured, or the baseline has no skill.

    Args:
        arms: For each arm its scores, one per seed.
        baseline: Name of the arm whose whole vectors the others are held against.
    """
    whole = arms[baseline]
    if not has_skill(whole):
        return None
    width = whole[0].dim
    full = vector_bytes(width, "float32")
    tried: list[tuple[str, Form, Comparison]] = []
    for name, scores, form in _ascending(arms, whole, full):
        margin = compare(scores, whole, form.k, width, storages=(form.storage, "float32"))
        if margin.query_interval[1] >= 0:
            return _smallest(name, form, margin, arms, whole)
        tried.append((name, form, margin))
    nearest = max(tried, key=lambda row: row[2].difference, default=None)
    return nearest and _smallest(*nearest, arms, whole)


def has_skill(scores: Sequence[Score]) -> bool:
    """Return whether an arm beats an answer without skill by twice the deviation over the units.

    That is the deviation of always answering the commonest label; of other truths, that of the arm itself.
    """
    chance, first = fmean(score.chance for score in scores), scores[0]
    spread = chance * (1 - chance) if first.truth.kind == "labels" else float(first.frontier.hits()[-1].var())
    noise = 2 * math.sqrt(spread / first.truth.units)
    return fmean(score.value for score in scores) - chance > noise


def _ascending(
    arms: Mapping[str, Sequence[Score]], whole: Sequence[Score], limit: int
) -> Iterator[tuple[str, list[Score], Form]]:
    """Yield the forms of fewer bytes than the limit, the smallest first, of equal ones the most accurate first."""
    seeds = {score.seed for score in whole}
    found = []
    for name, scores in arms.items():
        paired = [score for score in scores if score.seed in seeds]
        found += [(vector_bytes(form.k, form.storage), -form.accuracy, name, paired, form) for form in _forms(paired)]
    for size, _, name, paired, form in sorted(found, key=lambda row: row[:2]):
        if size < limit:
            yield name, paired, form


def _forms(scores: Sequence[Score]) -> Iterator[Form]:
    """Yield every form that fits an arm in all of its seeds; one that has fewer numbers keeps all it has."""
    for dtype in _measured([scores]):
        lines = [line for score in scores if (line := score.line(dtype))]
        for k in sorted({k for line in lines for k in line.dims}):
            if all(line.dims[0] <= k for line in lines):
                yield Form(dtype, k, fmean(line.means()[line.index(k)] for line in lines))


def _measured(arms: Sequence[Sequence[Score]]) -> tuple[Storage, ...]:
    """Return the storage types that all scores of all arms were measured in."""
    return tuple(dtype for dtype in get_args(Storage) if all(score.line(dtype) for scores in arms for score in scores))


def _smallest(
    name: str, form: Form, margin: Comparison, arms: Mapping[str, Sequence[Score]], whole: Sequence[Score]
) -> Smallest:
    width = whole[0].dim
    return Smallest(
        arm=name,
        storage=form.storage,
        k=form.k,
        bytes=vector_bytes(form.k, form.storage),
        accuracy=form.accuracy,
        within=margin.query_interval[1] >= 0,
        margin=margin,
        whole=(width, vector_bytes(width, "float32"), fmean(score.value for score in whole)),
        storages=_measured([*arms.values()]),
    )
