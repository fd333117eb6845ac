# SPDX-License-Identifier: Apache-2.0
"""Products of float32 rows against those in float64, on every way that they may take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lightning_monocon.functional.inner_products import inner_products


@pytest.fixture
def fewer_digits() -> Iterator[None]:
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    yield
    settings.fp32_precision = before


def check(first: int, second: int, width: int) -> None:
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(rows, width, generator=draw) for rows in (first, second))
    exact = left.double() @ right.double().T
    most = (width + 1) * 2.0**-24 * torch.outer(left.norm(dim=1), right.norm(dim=1))
    assert ((inner_products(left, right) - exact).abs() <= most).all()
    assert ((inner_products(left.T.contiguous().T, right[:, ::1]) - exact).abs() <= most).all()
    torch.testing.assert_close(inner_products(left.double(), right.double()), exact, atol=1e-12, rtol=0)


@pytest.mark.parametrize("width", [1, 16, 17, 96, 385])
@pytest.mark.parametrize(("first", "second"), [(3, 200), (200, 3), (100, 300), (1100, 2000), (0, 5)])
def test_products_have_the_digits_of_float32(first: int, second: int, width: int) -> None:
    check(first, second, width)


@pytest.mark.usefixtures("fewer_digits")
def test_products_have_them_where_torch_may_leave_some_out() -> None:
    check(100, 300, 96)
    check(3, 300, 96)
