# SPDX-License-Identifier: Apache-2.0
"""What a campaign is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Args:
        fault: What was done to the product, in words.
        trials: How often.
        lost: Trials after which something that had been saved was gone, or could not be gone on with.
        wrong: Trials that ended with wrong values, or let something in, without a word.
        note: What a reader should know beside the figures.
    """

    fault: str
    trials: int
    lost: int
    wrong: int
    note: str = ""

    @property
    def held(self) -> bool:
        """Whether the product kept its promise in every trial, and there was a trial."""
        return self.trials > 0 and self.lost == self.wrong == 0


class Campaign(NamedTuple):
    """A campaign and its two budgets."""

    run: Callable[[int, Path], Outcome]
    """Called with the number of trials and an empty folder."""
    fast: int
    """Trials in `make test`; 0 leaves it to `make torture`."""
    full: int
    """Trials in `make torture`."""
