# SPDX-License-Identifier: Apache-2.0
"""Equal rows are told from rows that differ by the last digit of float32, and rows of any magnitude are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.fitting import Similarity, check_size, check_varying


@pytest.mark.parametrize(
    ("row", "similarity"),
    [
        (torch.ones(8), "cosine"),  # 1 / sqrt(8) times itself, eight times, is not 1 in float64
        (torch.linspace(-3, 7, 384), "cosine"),
        (torch.full((3,), 0.1, dtype=torch.float64), "dot"),
        (torch.zeros(4), "dot"),
    ],
)
def test_equal_rows_are_refused_although_their_mean_rounds(row: torch.Tensor, similarity: Similarity) -> None:
    with pytest.raises(ValueError, match=r"`rows` must hold two different rows to fit a code on; got 300 equal rows\."):
        check_varying(FittingRows.of(row.repeat(300, 1), similarity))


def test_one_number_of_one_row_that_differs_in_float32_is_enough() -> None:
    rows = torch.ones(300, 8)
    rows[7, 0] = 1 + torch.finfo(torch.float32).eps
    for similarity in ("cosine", "dot"):
        check_varying(FittingRows.of(rows, similarity))


@pytest.mark.parametrize("power", [900, 130, -140, -900])
def test_float64_rows_beyond_float32_fit_as_their_directions(power: int) -> None:
    rows = torch.randn(300, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows[0] = 0
    torch.testing.assert_close(FittingRows.of(rows * 2.0**power).sample, FittingRows.of(rows).sample, rtol=0, atol=0)


def test_float64_rows_beyond_float32_are_refused_where_lengths_matter() -> None:
    rows = torch.eye(300, 8, dtype=torch.float64) * 1e39
    with pytest.raises(
        ValueError, match=r"`rows` must lie within the range of float32, up to 3\.4e\+38, .* got 1e\+39"
    ):
        FittingRows.of(rows, "dot")


def test_a_size_is_a_whole_number() -> None:
    check_size(np.int64(3))  # type: ignore[arg-type]  # as NumPy's sums are
    with pytest.raises(TypeError, match=r"`size` must be a whole number of bytes; got 2\.5: round it\."):
        check_size(2.5)  # type: ignore[arg-type]
