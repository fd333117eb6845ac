# SPDX-License-Identifier: Apache-2.0
"""Split rows and queries into three parts: codes are fitted on one, chosen on a second, certified on a third."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FEWEST_ROWS = 512
"""Rows that a gallery needs: half of them are fitted on, and a number of 8 bits has 256 levels."""

FEWEST_UNITS = 20
"""Queries, or pairs, that are needed: fewer certify nothing."""

_FIT_ROWS = 100_000
_HELD_OUT = 4_000
_FEWEST_GIVEN = FEWEST_ROWS + (FEWEST_ROWS - 1) // 4  # the fewest of which a fifth, rounded down, leaves enough
_UNSEEN = 4_096


class Parts(NamedTuple):
    """Hold the three parts: rows ascending, queries in random order, which the certificate needs.

    Attributes:
        fit: Rows of the gallery that codes are fitted on.
        choose: Queries, or pairs, that the codes are chosen on.
        certify: Those that the chosen code is certified on.
    """

    fit: Tensor
    choose: Tensor
    certify: Tensor


def split(rows: int, units: int, seed: int) -> Parts:
    """Return the parts: half of the rows, but at most 100 000, and both halves of the queries.

    Raises:
        ValueError: If there are too few rows or queries.
    """
    check_rows(rows, rows)
    if units < FEWEST_UNITS:
        raise ValueError(
            f"`--queries` must give at least {FEWEST_UNITS} queries or pairs with an answer, half of which choose and "
            f"half of which certify; got {units}: add queries."
        )
    fit = _shuffled(rows, seed)[: min(rows // 2, _FIT_ROWS)]
    order = _shuffled(units, seed + 1)
    return Parts(fit.sort().values, order[: units // 2], order[units // 2 :])


def check_rows(rows: int, given: int, held_out: bool = False) -> None:
    """Raise ValueError if a gallery has too few rows.

    Args:
        rows: Those of the gallery.
        given: Those of the files.
        held_out: Whether the others became queries; otherwise they have the id of a query.
    """
    if rows >= FEWEST_ROWS:
        return
    cause = f"because a number of 8 bits has {FEWEST_ROWS // 2} levels and half of the rows fit them"
    if held_out:
        raise ValueError(
            f"`VECTORS` must hold at least {_FEWEST_GIVEN} rows where no --queries are given: a fifth "
            f"of them becomes queries, and {FEWEST_ROWS} must be left, {cause}; got {given}, of which {rows} are left: "
            "add rows, or give --queries."
        )
    left, remedy = "", "add rows"
    if rows != given:
        left = f" of {given}, for the others have the id of a query"
        remedy += ", or give queries that mean other rows other ids"
    raise ValueError(f"`VECTORS` must hold at least {FEWEST_ROWS} rows, {cause}; got {rows}{left}: {remedy}.")


def unseen_rows(parts: Parts, rows: int) -> Tensor:
    """Return rows that no code was fitted on, by number: the first ones, but at most 4 096."""
    rest = torch.ones(rows, dtype=torch.bool)
    rest[parts.fit] = False
    return rest.nonzero().flatten()[:_UNSEEN]


def hold_out(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return which rows stay in the gallery and which become queries: a fifth of them, but at most 4 000.

    Raises:
        ValueError: If there are too few rows.
    """
    if rows < 5 * FEWEST_UNITS:
        raise ValueError(
            f"`VECTORS` must hold at least {5 * FEWEST_UNITS} rows of which a fifth become queries; got {rows}: add "
            "rows."
        )
    order = _shuffled(rows, seed + 2)
    count = min(rows // 5, _HELD_OUT)
    return order[count:].sort().values, order[:count].sort().values


def sampled(rows: int, count: int, seed: int) -> Tensor:
    """Return ``count`` random rows, ascending."""
    return _shuffled(rows, seed + 3)[:count].sort().values


def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
