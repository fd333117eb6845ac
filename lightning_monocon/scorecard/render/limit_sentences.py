# SPDX-License-Identifier: Apache-2.0
"""Say how many rows the numbers that are kept of an arm can order freely, if they are trained to."""

from __future__ import annotations

from lightning_monocon.functional.critical_dimension import fitted_rows
from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.render.sentences import Sentence

LIMITS = (
    "Rows are ordered freely if some query finds any two of them first. Vectors of k numbers that were trained for "
    "just that, with no model behind them, reached so many rows by the cubic fit of Weller et al. (2025), which is "
    "extrapolated where k is large. It is what that training reached, and no bound: up to three numbers it is exact, "
    "but from four on a smaller temperature reaches more, and some vectors order any number of rows, by margins that "
    "shrink with its fourth power. Queries ask for few of all orders, so a gallery may well be larger."
)


def limit_lines(card: Scorecard) -> list[Sentence]:
    """Say of each arm what the numbers that are kept of it can order."""
    return [Sentence(arm.name, _limit(arm, card.size_of(arm))) for arm in card.arms]


def _limit(arm: Arm, k: int) -> str:
    rows, gallery = fitted_rows(k), arm.scores[0].n
    numbers = "1 number" if k == 1 else f"{k} numbers"
    told = f"no more than {rows} rows freely" if k < 4 else f"about {_rounded(rows):,} rows freely by that fit"
    told = f"{numbers} can order {told}; the gallery has {gallery:,}"
    return f"{told}, which is fewer." if gallery <= rows else f"{told}."


def _rounded(rows: int) -> int:
    """Return two digits: a fit knows no more."""
    return int(float(f"{rows:.2g}"))
