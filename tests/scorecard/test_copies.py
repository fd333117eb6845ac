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


@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-6, 1e-7], ids=str)
def test_a_narrow_cone_leaks_nothing_but_its_own_rows(scale: float) -> None:
    rows = 1 + scale * _rows(600, 16)
    assert count_copies(rows[:500], rows[500:])[2:] == (0, False)
    assert count_copies(rows[:500], rows[480:]).leaked == 20


def test_noise_that_no_search_notices_makes_no_other_row() -> None:
    gallery = _rows(1000, 64)
    asked = gallery[:100].repeat(20, 1) + 1e-6 * _rows(2000, 64, seed=1)
    assert count_copies(gallery, torch.cat([asked, _rows(50, 64, seed=2)])) == (1000, 150, 2000, False)


def test_a_network_that_runs_in_other_batches_gives_the_same_rows() -> None:
    inputs = _rows(300, 64)
    layers = [_rows(256, 64, seed=1) / 8, *(_rows(256, 256, seed=seed) / 11 for seed in range(2, 8))]

    def embed(rows: Tensor) -> Tensor:
        for layer in layers:
            rows = (rows @ layer.to(rows).T).relu()
        return rows

    exact, rounded = embed(inputs.double()).float(), embed(inputs)
    assert count_copies(exact, rounded).leaked == 300
    assert count_copies(exact[:150], rounded[150:]).leaked == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shift", [0, 20], ids=["spread", "cone"])
def test_a_row_in_half_precision_is_a_copy_on_either_side(dtype: torch.dtype, shift: float) -> None:
    gallery, other = _rows(1000, 64) + shift, _rows(50, 64, seed=1) + shift
    query = torch.cat([gallery[:50], other])
    assert count_copies(gallery, query.to(dtype).float()) == (1000, 100, 50, False)
    assert count_copies(gallery.to(dtype).float(), query) == (1000, 100, 50, False)


@pytest.mark.parametrize("tiny", [1e-12, 1e12], ids=str)
def test_rows_outside_the_range_of_half_precision_stay_as_they_are(tiny: float) -> None:
    gallery = _rows(200, 16).half().float()
    assert count_copies(gallery, tiny * _rows(80, 16, seed=1)) == (200, 80, 0, False)


def test_rows_on_a_curve_are_not_accused() -> None:
    """They lie nearer to each other than any others: 30,000 on a closed curve of length 6, in 64 dimensions."""
    angle = 2 * torch.pi * torch.rand(33_000, 1, generator=torch.Generator().manual_seed(0))
    rows = torch.cat([angle.sin(), angle.cos()], 1) @ torch.linalg.qr(_rows(64, 2))[0].T
    found = count_copies(rows[:30_000], rows[30_000:])
    assert found.leaked < 0.01 * 3000 and found.distinct > 0.98 * 30_000


@pytest.mark.parametrize("shift", [100, 3e4], ids=str)
def test_a_scaled_copy_in_a_cone_is_a_copy(shift: float) -> None:
    rows = _rows(600, 16) + shift
    assert count_copies(torch.cat([rows[:500], 3.3 * rows[:90]]), 0.7 * rows[400:]) == (500, 200, 100, False)


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
