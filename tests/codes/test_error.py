# SPDX-License-Identifier: Apache-2.0
"""The squared error of a code, by another route and against the limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import spectra

from lightning_monocon.codes import Codec, FittingRows, LevelQuantiser, Space, squared_error
from lightning_monocon.codes.families.transform import fit_transform
from lightning_monocon.functional import explained_variance, rate_distortion

SPREAD = torch.tensor([2.0, 1.0, 0.5, 0.25, 0.1, 0.1])


def rows_of(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) * SPREAD + 0.3


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_it_is_the_residual_of_a_regression_on_the_decoded_rows(similarity: str) -> None:
    codec = fit_transform(FittingRows.of(rows_of(2000, 0), similarity), 1)
    rows = rows_of(300, 1)
    target = spectra.prepared(rows.double().numpy(), similarity == "cosine") - codec.space.mean.double().numpy()
    back = np.linalg.pinv(codec.space.matrix.double().numpy()).T
    decoded = codec.quantiser.decode(codec.encode(rows)).double().numpy() @ back
    _, (residual,), _, _ = np.linalg.lstsq(decoded.reshape(-1, 1), target.reshape(-1), rcond=None)
    assert squared_error(codec, rows) == pytest.approx(residual / 300, rel=1e-9)


def test_rows_of_the_matrix_may_lie_at_any_angle() -> None:
    """As those of a learnt code do; fine levels lose nothing but what lies outside their span."""
    matrix = torch.randn(4, 6, generator=torch.Generator().manual_seed(3)) * 3
    levels = torch.linspace(-40, 40, 256).repeat(4, 1)
    codec = Codec("fine-4", "learnt", Space(torch.zeros(6), matrix, "dot"), LevelQuantiser(torch.full((4,), 8), levels))
    rows = rows_of(200, 4)
    outside = rows - rows @ torch.linalg.pinv(matrix) @ matrix
    assert squared_error(codec, rows) == pytest.approx(float(outside.square().sum(1).mean()), rel=0.05)


def test_the_length_of_the_levels_does_not_count() -> None:
    errors = []
    for length in (0.01, 1.0, 50.0):
        quantiser = LevelQuantiser(torch.ones(6, dtype=torch.int64), torch.tensor([[-length, length]]).repeat(6, 1))
        codec = Codec("signs-1", "signs", Space(torch.zeros(6), torch.eye(6)), quantiser)
        errors.append(squared_error(codec, rows_of(50, 2)))
    assert errors == pytest.approx([errors[0]] * 3, rel=1e-6)


def test_a_transform_code_of_gaussian_rows_is_a_little_above_the_limit() -> None:
    codec = fit_transform(FittingRows.of(rows_of(20_000, 3), "dot"), 2)
    rows = rows_of(20_000, 4)
    limit = rate_distortion(explained_variance(rows, normalize=False), squared_error(codec, rows))
    # At most 0.72 bit for each of its levels (a fixed rate, Panter and Dite 1951), and half a bit for whole bits.
    active = int((codec.quantiser.bits > 0).sum())
    assert 0 < 16 - limit < (0.72 + 0.5) * active


def test_wrong_rows_are_named() -> None:
    codec = fit_transform(FittingRows.of(rows_of(200, 0)), 1)
    with pytest.raises(ValueError, match="`rows` must have 6 features like the rows before; got 5"):
        squared_error(codec, torch.ones(3, 5))
    with pytest.raises(ValueError, match="`rows` must hold at least one row to measure an error; got 0"):
        squared_error(codec, torch.ones(0, 6))
    with pytest.raises(ValueError, match="`rows` must be finite; 1 of 1 rows"):
        squared_error(codec, torch.full((1, 6), torch.nan))
