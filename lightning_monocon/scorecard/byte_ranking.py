# SPDX-License-Identifier: Apache-2.0
"""Name the best arm at each number of bytes per vector, and say whether its lead is more than noise.

The same bytes buy few float32 coordinates, four times as many int8 ones, or thirty-two times as many bits. Every arm
competes with the storage type that serves it best at that size. That choice is made on the queries that judge it, which
flatters all arms alike by a little: margins of a few tenths of a point mean nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import get_args

from lightning_monocon.functional.quantisation import Storage, dims_within
from lightning_monocon.scorecard.ranking import Family, Form, Winner, family, on_shared_seeds, ranked
from lightning_monocon.scorecard.scores import Score


@dataclass(frozen=True)
class ByteWinner(Winner):
    """Hold the best arm at a budget of ``bytes`` per vector; ``k`` counts coordinates in ``storage``."""

    bytes: int
    storage: Storage


def byte_budgets(width: int) -> tuple[int, ...]:
    """Return the bytes per vector of the tables: powers of two from 1 up to ``width`` float32 numbers.

    Example:
        >>> byte_budgets(6)
        (1, 2, 4, 8, 16)
    """
    return tuple(1 << i for i in range((4 * width).bit_length()))


def best_form(scores: Sequence[Score], budget: int) -> Form | None:
    """Return the form that serves an arm best within ``budget`` bytes, on average over its seeds; None if none fits."""
    forms = []
    for dtype in get_args(Storage):
        k = dims_within(budget, dtype)
        lines = [line for score in scores if (line := score.line(dtype)) and line.dims[0] <= k]
        if len(lines) == len(scores):
            used = max(line.dims[line.index(k)] for line in lines)
            forms.append(Form(dtype, used, fmean(line.means()[line.index(k)] for line in lines)))
    return max(forms, key=lambda form: form.accuracy, default=None)


def byte_forms(arms: Mapping[str, Sequence[Score]], budget: int) -> dict[str, Form]:
    """Return the `best_form` of each arm within ``budget`` bytes; an arm that does not fit is left out."""
    return {name: form for name, scores in arms.items() if (form := best_form(scores, budget))}


def byte_winner(
    arms: Mapping[str, Sequence[Score]], budget: int, seed: int = 0, card: Family | None = None
) -> ByteWinner | None:
    """Name the arm with the highest mean figure within ``budget`` bytes; of equals, the one listed first.

    Args:
        arms: For each arm its scores, one per seed, measured with ``rounded=True``; seeds that not all arms have are
            left out.
        budget: Bytes of a vector.
        seed: Of the draws behind the critical values.
        card: All comparisons of the card; those at this budget by default.

    Returns:
        The winner with its margins; None if no arm fits the budget.
    """
    arms = on_shared_seeds(arms) if arms else {}
    forms = byte_forms(arms, budget)
    if not forms:
        return None
    first, margins = ranked(forms, card or family(arms, [forms], seed=seed))
    best = forms[first]
    return ByteWinner(best.k, first, best.accuracy, margins, budget, best.storage)
