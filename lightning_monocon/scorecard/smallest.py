# SPDX-License-Identifier: Apache-2.0
"""Find the fewest bytes at which an embedding keeps the accuracy of the whole baseline.

A form is an arm, a storage type and a number of kept coordinates, as the frontiers measured them. It keeps the accuracy
if it passes the test of `lightning_monocon.scorecard.kept`. Where the queries are too few for any form to pass, the
smallest form without a shown loss is named, as an open case, and the number of queries that would settle it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import get_args

from lightning_monocon.functional.quantisation import Storage, vector_bytes
from lightning_monocon.scorecard.frontier import Held, held_bytes
from lightning_monocon.scorecard.kept import Kept, kept_of
from lightning_monocon.scorecard.ranking import Comparison, Form, code_name, compare
from lightning_monocon.scorecard.scores import Score


@dataclass(frozen=True)
class Smallest:
    """Hold the smallest form that keeps the accuracy of the whole baseline, or the nearest form if none does.

    Attributes:
        arm: Whose vectors they are; the baseline's own may be the smallest, too.
        storage: Storage type of a coordinate, or ``"code"``.
        k: Coordinates; bytes of a code.
        bytes: Of one vector.
        accuracy: Mean over the seeds that the baseline has too.
        loss: Whether the accuracy is kept: if not, no smaller form than the whole keeps it. Then this is the smallest
            without a shown loss (open), or, where every form loses, the nearest (lost).
        margin: The form against the whole baseline.
        whole: The baseline's vectors as they are: coordinates, bytes and accuracy.
        storages: Storage types that were measured, ``"code"`` among them where codes were fitted.
        code: Name of the code.
    """

    arm: str
    storage: Held
    k: int
    bytes: int
    accuracy: float
    loss: Kept
    margin: Comparison
    whole: tuple[int, int, float]
    storages: tuple[Held, ...]
    code: str = ""

    @property
    def within(self) -> bool:
        """Whether the queries show no loss, be it kept or open."""
        return self.loss.high >= 0


def smallest_form(arms: Mapping[str, Sequence[Score]], baseline: str) -> Smallest | None:
    """Return the smallest form that keeps the accuracy; None if nothing smaller was measured, or nothing is to keep.

    Args:
        arms: For each arm its scores, one per seed.
        baseline: Name of the arm whose whole vectors the others are held against.
    """
    whole = arms[baseline]
    if not has_skill(whole):
        return None
    width = whole[0].dim
    full = vector_bytes(width, "float32")
    tried: list[Smallest] = []
    for name, scores, form in _ascending(arms, whole, full):
        margin = compare(scores, whole, form.k, width, storages=(form.storage, "float32"))
        found = _smallest(name, form, margin, kept_of(margin, scores), arms, whole)
        if found.loss.outcome == "kept":
            return found
        tried.append(found)
    open_case = next((found for found in tried if found.within), None)
    return open_case or max(tried, key=lambda found: found.margin.difference, default=None)


def has_skill(scores: Sequence[Score]) -> bool:
    """Return whether an arm beats the best answer without skill by twice the deviation over the units.

    That is the deviation of the best constant answer; of other truths than labels, that of the arm itself.
    """
    constant, first = fmean(score.constant for score in scores), scores[0]
    if first.truth.units < 2:  # one has no deviation, and shows nothing
        return False
    spread = constant * (1 - constant) if first.truth.kind == "labels" else float(first.frontier.hits()[-1].var())
    noise = 2 * math.sqrt(spread / first.truth.units)
    return fmean(score.value for score in scores) - constant > noise


def _ascending(
    arms: Mapping[str, Sequence[Score]], whole: Sequence[Score], limit: int
) -> Iterator[tuple[str, list[Score], Form]]:
    """Yield the forms of fewer bytes than the limit, the smallest first, of equal ones the most accurate first."""
    seeds = {score.seed for score in whole}
    found = []
    for name, scores in arms.items():
        paired = [score for score in scores if score.seed in seeds]
        found += [(held_bytes(form.k, form.storage), -form.accuracy, name, paired, form) for form in _forms(paired)]
    for size, _, name, paired, form in sorted(found, key=lambda row: row[:2]):
        if size < limit:
            yield name, paired, form


def _forms(scores: Sequence[Score]) -> Iterator[Form]:
    """Yield every form that fits an arm in all of its seeds; one that has fewer numbers keeps all it has."""
    for dtype in _measured([scores]):
        lines = [line for score in scores if (line := score.line(dtype))]
        for k in sorted({k for line in lines for k in line.dims}):
            if all(line.dims[0] <= k for line in lines):
                name = code_name(scores, k) if dtype == "code" else ""
                yield Form(dtype, k, fmean(line.means()[line.index(k)] for line in lines), name)


def _measured(arms: Sequence[Sequence[Score]]) -> tuple[Held, ...]:
    """Return the storage types that all scores of all arms were measured in, and codes where they were fitted."""
    scores = [score for own in arms for score in own]
    plain: list[Held] = [dtype for dtype in get_args(Storage) if all(score.line(dtype) for score in scores)]
    fitted = all(score.codes is not None and score.codes.fitted for score in scores)
    return (*plain, "code") if fitted else tuple(plain)


def _smallest(
    name: str, form: Form, margin: Comparison, loss: Kept, arms: Mapping[str, Sequence[Score]], whole: Sequence[Score]
) -> Smallest:
    width = whole[0].dim
    return Smallest(
        arm=name,
        storage=form.storage,
        k=form.k,
        bytes=held_bytes(form.k, form.storage),
        accuracy=form.accuracy,
        loss=loss,
        margin=margin,
        whole=(width, vector_bytes(width, "float32"), fmean(score.value for score in whole)),
        storages=_measured([*arms.values()]),
        code=form.code,
    )
