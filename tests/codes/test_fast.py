# SPDX-License-Identifier: Apache-2.0
"""Test that the float32 path gives the bytes of the float64 definition."""

from __future__ import annotations

import pytest
import torch

from lightning_monocon.codes import Codec, FittingRows, LevelQuantiser, Space
from lightning_monocon.codes.families.scalar import ScalarOptions, fit_scalar, random_rotation
from lightning_monocon.codes.families.transform import fit_transform


def _rows(count: int, seed: int = 0) -> torch.Tensor:
    spread = torch.linspace(1.0, 0.05, 96) ** 2
    return torch.randn(count, 96, generator=torch.Generator().manual_seed(seed)) * spread + 0.1


def _definition(codec: Codec, rows: torch.Tensor) -> torch.Tensor:
    return codec.quantiser.encode(codec.space.coordinates(rows))


@pytest.mark.parametrize("size", [8, 32])
def test_random_rows_get_the_bytes_of_the_definition(size: int) -> None:
    codec = fit_transform(FittingRows.of(_rows(5000, 1)), size)
    rows = _rows(100_000 if size == 32 else 5000)
    assert torch.equal(codec.encode(rows), _definition(codec, rows))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_rows_on_and_beside_thresholds_get_the_bytes_of_the_definition(bits: int) -> None:
    codec = fit_scalar(FittingRows.of(_rows(5000, 1)), 8, ScalarOptions(bits, rotation="random"))
    space, levels = codec.space, codec.quantiser.tensors()["levels"].double()
    middle = (levels[:, 1:] + levels[:, :-1])[:, (2**bits - 1) // 2] / 2
    start = _rows(4000).double()
    start = start / start.norm(dim=1, keepdim=True)
    # Move one coordinate onto its threshold, the rest of the unit row outside the span of the matrix.
    number = torch.arange(4000) % len(middle)
    for _ in range(60):
        miss = middle[number] - space.coordinates(start)[torch.arange(4000), number]
        start = start + miss[:, None] * space.matrix.double()[number]
        start = start / start.norm(dim=1, keepdim=True)
    rows = start.float()
    near = (space.coordinates(rows)[torch.arange(4000), number] - middle[number]).abs()
    assert near.median() < 1e-7
    assert torch.equal(codec.encode(rows), _definition(codec, rows))


def test_levels_that_crowd_together_get_the_bytes_of_the_definition() -> None:
    levels = torch.linspace(-1, 1, 256).repeat(96, 1)
    levels[:, 100:180] = levels[:, 100:101] + torch.arange(80) * 1e-7  # several thresholds in a cell of the table
    levels[1] = 0.0
    space = Space(torch.full((96,), 0.1), torch.eye(96))
    codec = Codec("crowded", "scalar", space, LevelQuantiser(torch.full((96,), 8), levels))
    rows = torch.cat([_rows(500), torch.eye(96) - 0.2 * torch.ones(96)])
    assert torch.equal(codec.encode(rows), _definition(codec, rows))


@pytest.mark.parametrize("spread", [1e-3, 1e-5, 1e-7])
def test_levels_as_near_as_float32_errs_get_the_bytes_of_the_definition(spread: float) -> None:
    rows = torch.randn(3000, 48, generator=torch.Generator().manual_seed(3)) * spread
    rows[:, :2] += _rows(3000)[:, :2]  # nearly all of the variance
    rows = rows @ random_rotation(48, 4).float()  # whose sums cancel in the others
    codec = fit_transform(FittingRows.of(rows), 48)
    assert torch.equal(codec.encode(rows), _definition(codec, rows))


def test_lengths_that_overflow_and_rows_of_zeros_get_the_bytes_of_the_definition() -> None:
    codec = fit_transform(FittingRows.of(_rows(2000, 1)), 8)
    rows = _rows(4)
    rows = torch.cat([rows * 1e30, rows * 1e-30, rows * 0])
    assert torch.equal(codec.encode(rows), _definition(codec, rows))
    assert torch.equal(codec.encode(rows)[:4], codec.encode(_rows(4)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_encoded_as_they_are(dtype: torch.dtype) -> None:
    codec = fit_transform(FittingRows.of(_rows(2000, 1)), 8)
    rows = _rows(500).to(dtype)
    assert torch.equal(codec.encode(rows), _definition(codec, rows.double()))


def test_no_rows_give_no_codes_and_nan_is_refused() -> None:
    codec = fit_transform(FittingRows.of(_rows(2000, 1)), 8)
    assert codec.encode(_rows(0)).shape == (0, 8)
    assert codec.score(_rows(2), codec.encode(_rows(0))).shape == (2, 0)
    with pytest.raises(ValueError, match="rows"):
        codec.encode(torch.full((3, 96), torch.nan))


def test_inner_products_are_encoded_by_the_definition() -> None:
    codec = fit_transform(FittingRows.of(_rows(2000, 1), "dot"), 8)
    assert torch.equal(codec.encode(_rows(500)), _definition(codec, _rows(500)))


def test_mixed_bits_are_packed_as_a_string_of_bits() -> None:
    bits = torch.tensor([3, 0, 8, 5, 1, 6])
    levels = torch.randn(6, 256, generator=torch.Generator().manual_seed(0)).sort(1).values
    for j, count in enumerate(bits.tolist()):
        levels[j, : 2**count] = torch.linspace(-0.6, 0.6, 2**count) if count else 0.0
    quantiser, space = LevelQuantiser(bits, levels), Space(torch.zeros(96), torch.eye(96)[:6])
    rows = _rows(200)
    expected = []
    for row in space.coordinates(rows):
        places = [int((row[j] > (levels[j, 1 : 2**b] + levels[j, : 2**b - 1]).double() / 2).sum())
                  for j, b in enumerate(bits.tolist())]  # fmt: skip
        string = "".join(format(place, f"0{b}b") for place, b in zip(places, bits.tolist(), strict=True) if b)
        expected.append(list(int(string.ljust(24, "0"), 2).to_bytes(3, "big")))
    codec = Codec("mixed", "transform", space, quantiser)
    assert codec.encode(rows).tolist() == expected
