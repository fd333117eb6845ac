# SPDX-License-Identifier: Apache-2.0
"""Name the best arm at each number of bytes per vector, and say whether its lead is more than noise.

The same bytes buy few float32 coordinates, many bits, or a code that gives each coordinate the bits it deserves. Every
arm competes in what serves it best at that size, chosen on one half of the queries and judged on the other
(`lightning_monocon.scorecard.codes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lightning_monocon.scorecard.ranking import Family, Form, Winner, code_name, family, on_shared_seeds, ranked
from lightning_monocon.scorecard.scores import Score


@dataclass(frozen=True)
class ByteWinner(Winner):
    """Hold the best arm at a budget of ``bytes`` per vector, which are ``k`` too, and the name of its ``code``."""

    bytes: int
    code: str


def best_form(scores: Sequence[Score], budget: int) -> Form | None:
    """Return the best code of an arm within ``budget`` bytes, with its mean over the seeds; None if none fits."""
    lines = [score.codes for score in scores if score.codes is not None and score.codes.dims[0] <= budget]
    if not scores or len(lines) < len(scores):
        return None
    places = [line.index(budget) for line in lines]
    used = max(line.dims[place] for line, place in zip(lines, places, strict=True))
    accuracy = fmean(line.means()[place] for line, place in zip(lines, places, strict=True))
    return Form("code", used, accuracy, code_name(scores, budget))


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
    return ByteWinner(best.k, first, best.accuracy, margins, budget, best.code)
