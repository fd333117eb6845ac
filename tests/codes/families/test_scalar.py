# SPDX-License-Identifier: Apache-2.0
"""Test scalar codes: levels, rotations, sizes and bad input."""

from __future__ import annotations

import pytest
import torch

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families.scalar import SCALARS, ScalarOptions, fit_scalar


def _rows(count: int, seed: int = 0) -> torch.Tensor:
    spread = torch.linspace(1.0, 0.05, 32) ** 2
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed)) * spread + 0.1


@pytest.mark.parametrize("options", SCALARS, ids=lambda options: options.name)
def test_every_variant_ranks_and_is_the_same_twice(options: ScalarOptions) -> None:
    fitting, rows = FittingRows.of(_rows(2000, 1)), _rows(300)
    codec = fit_scalar(fitting, 4, options)
    codes = codec.encode(rows)
    assert codes.shape == (300, 4)
    assert torch.equal(fit_scalar(fitting, 4, options).encode(rows), codes)
    cosine = torch.nn.functional.normalize(rows) @ torch.nn.functional.normalize(rows).T
    assert torch.corrcoef(torch.stack([codec.score(rows, codes).flatten(), cosine.flatten()]))[0, 1] > 0.3
    if not options.centre:
        assert not codec.space.mean.any()


def test_names_tell_the_variants_apart() -> None:
    assert len({options.name for options in SCALARS}) == len(SCALARS)


def test_one_bit_levels_are_the_mean_magnitude_of_a_gaussian_s_halves() -> None:
    fitting = FittingRows.of(torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0)), "dot")
    for bits, known in ((1, [-0.7979, 0.7979]), (2, [-1.5104, -0.4528, 0.4528, 1.5104])):
        levels = fit_scalar(fitting, bits, ScalarOptions(bits)).quantiser.tensors()["levels"]
        assert torch.allclose(levels.mean(0), torch.tensor(known), atol=0.02)  # Max 1960, table I


def test_itq_lowers_the_error_of_signs() -> None:
    rows, errors = _rows(2000), []
    for rotation in ("none", "random", "itq"):
        codec = fit_scalar(FittingRows.of(rows), 2, ScalarOptions(1, rotation=rotation))
        y = codec.space.coordinates(rows)
        matrix = codec.space.matrix
        assert torch.allclose(matrix @ matrix.T, torch.eye(16), atol=1e-5)
        errors.append(float(y.abs().sum()))  # most where the signs hold most
    assert errors[2] > max(errors[:2])


def test_a_rank_below_the_size_makes_a_smaller_code() -> None:
    flat = _rows(500, 1)
    flat[:, 3:] = 0
    assert fit_scalar(FittingRows.of(flat, "dot"), 16, ScalarOptions(8)).bytes_per_vector == 3


def test_few_duplicated_and_constant_rows_give_ascending_levels() -> None:
    rows = torch.cat([_rows(2, 1)] * 3)
    codec = fit_scalar(FittingRows.of(rows), 4, ScalarOptions(8, projection="none"))
    levels = codec.quantiser.tensors()["levels"]
    assert torch.isfinite(levels).all()
    assert (levels.diff() >= 0).all()


def test_bad_sizes_and_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="`size` must be at least 1 byte; got 0"):
        fit_scalar(FittingRows.of(_rows(50)), 0)
    with pytest.raises(ValueError, match="2 bytes for float16"):
        fit_scalar(FittingRows.of(_rows(50)), 1, ScalarOptions(16))
    with pytest.raises(ValueError, match="two different rows"):
        fit_scalar(FittingRows.of(torch.ones(9, 4), "dot"), 1)
    codec = fit_scalar(FittingRows.of(_rows(50)), 4)
    with pytest.raises(ValueError, match="rows"):
        codec.encode(torch.zeros(3, 31))
    with pytest.raises(ValueError, match=r"`codes` must be \(N, 4\)"):
        codec.decode(torch.zeros(3, 5, dtype=torch.uint8))
    with pytest.raises(TypeError, match="uint8"):
        codec.decode(torch.zeros(3, 4))
