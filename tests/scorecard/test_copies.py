# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_monocon.scorecard.copies import SAME_DIRECTION, count_copies, same_direction


def _groups(rows: Tensor) -> int:
    """Count directions by every pair in float64: rows join the first row that they equal."""
    unit = rows.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    first: list[int] = []
    for index in range(len(unit)):
        if not any(np.linalg.norm(unit[index] - unit[other]) <= SAME_DIRECTION for other in first):
            first.append(index)
    return len(first)


def _rows(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", [1, 2, 5, 64])
@pytest.mark.parametrize("scaled", [False, True], ids=["equal", "scaled"])
def test_directions_are_counted_as_by_every_pair(width: int, scaled: bool) -> None:
    picks = torch.randint(60, (300,), generator=torch.Generator().manual_seed(1))
    rows = _rows(60, width)[picks]
    if scaled:
        rows = rows * (0.1 + 10 * torch.rand(300, 1, generator=torch.Generator().manual_seed(2)))
    group = same_direction(rows)
    assert group.max() + 1 == len(np.unique(group)) == _groups(rows)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30], ids=str)
def test_counts_of_both_sides(scale: float) -> None:
    gallery, query = _rows(200, 16), _rows(80, 16, seed=1)
    gallery = torch.cat([gallery, 3 * gallery[:50]])
    query = torch.cat([query, 0.7 * query[:20], 5 * gallery[10:15]])
    assert count_copies(scale * gallery, query) == (200, 85, 5, False)


def test_rows_of_a_narrow_cone_are_different() -> None:
    rows = _rows(500, 16) + 3e4
    assert count_copies(rows[:400], rows[400:]) == (400, 100, 0, False)


def test_rows_that_are_all_equal_or_zero_are_one() -> None:
    assert same_direction(torch.zeros(50, 3)).max() == 0
    assert count_copies(torch.ones(3000, 8) * torch.arange(1, 3001)[:, None], torch.ones(2, 8))[:3] == (1, 1, 2)


def test_negative_zero_is_zero_and_opposite_rows_are_not_equal() -> None:
    rows = torch.tensor([[1.0, 0.0], [2.0, -0.0], [-1.0, 0.0]])
    assert same_direction(rows).tolist() == [0, 0, 1]


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_bits_that_coincide_are_codes_and_repeated_numbers_are_not(bits: int) -> None:
    rows = _rows(1500, bits)
    codes = count_copies(rows[:1000].sign(), rows[1000:].sign())
    assert codes.coded and codes.distinct < 1000
    assert not count_copies(rows[:1000][torch.arange(1000) % 200], rows[1000:]).coded


def test_repeated_codes_of_many_bits_are_copies() -> None:
    rows = _rows(1500, 64).sign()
    assert count_copies(rows[:1000][torch.arange(1000) % 200], rows[1000:]) == (200, 500, 0, False)


def test_padding_does_not_make_copies_codes() -> None:
    rows = torch.nn.functional.pad(_rows(300, 8), (0, 8))
    assert count_copies(rows.repeat(2, 1), rows[:10]) == (300, 10, 10, False)
