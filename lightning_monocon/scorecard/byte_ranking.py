# SPDX-License-Identifier: Apache-2.0
"""Which arm is best at each number of bytes per vector, and whether that is more than noise.

The same bytes buy few float32 coordinates, four times as many int8 ones, or thirty-two times as many bits. Every arm
competes with the storage that serves it best at that size. That choice is made on the queries that judge it, which
flatters all arms alike by a little: margins of a few tenths of a point mean nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lightning_monocon.functional.quantisation import ROUNDED, Storage, dims_within
from lightning_monocon.scorecard.ranking import Winner, compare
from lightning_monocon.scorecard.scores import Score

_STORAGES: tuple[Storage, ...] = ("float32", *ROUNDED)


@dataclass(frozen=True)
class Form:
    """One way to keep an arm's vectors: at most ``k`` coordinates in ``storage``, and the accuracy it gives."""

    storage: Storage
    k: int
    accuracy: float


@dataclass(frozen=True)
class ByteWinner(Winner):
    """The best arm at a budget of ``bytes`` per vector; ``k`` counts coordinates in ``storage``."""

    bytes: int
    storage: Storage


def byte_budgets(width: int) -> tuple[int, ...]:
    """Bytes per vector that tables use: powers of two from 1 up to ``width`` float32 numbers.

    Example:
        >>> byte_budgets(6)
        (1, 2, 4, 8, 16)
    """
    return tuple(1 << i for i in range((4 * width).bit_length()))


def best_form(scores: Sequence[Score], budget: int) -> Form | None:
    """The storage that serves an arm best within ``budget`` bytes, on average over its seeds; None if none fits."""
    forms = []
    for storage in _STORAGES:
        k = dims_within(budget, storage)
        lines = [line for score in scores if (line := score.line(storage)) and line.dims[0] <= k]
        if len(lines) == len(scores):
            used = max(line.dims[line.index(k)] for line in lines)
            forms.append(Form(storage, used, fmean(line.knn_accuracy[line.index(k)] for line in lines)))
    return max(forms, key=lambda form: form.accuracy, default=None)


def byte_winner(arms: Mapping[str, Sequence[Score]], budget: int, seed: int = 0) -> ByteWinner | None:
    """Name the arm with the highest mean 5-NN accuracy within ``budget`` bytes; of equals, the one listed first.

    Args:
        arms: for each arm its scores, one per seed, measured with ``rounded=True``.
        budget: bytes of a vector.
        seed: of the resampling.

    Returns:
        The winner with its margins; None if no arm fits the budget.
    """
    forms = {name: form for name, scores in arms.items() if (form := best_form(scores, budget))}
    if not forms:
        return None
    first, *rest = sorted(forms, key=lambda name: -forms[name].accuracy)
    best = forms[first]
    margins = tuple(
        compare(
            arms[first],
            arms[name],
            best.k,
            forms[name].k,
            seed=seed,
            storages=(best.storage, forms[name].storage),
        )
        for name in rest
    )
    return ByteWinner(best.k, first, best.accuracy, margins, budget, best.storage)
