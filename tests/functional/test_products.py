# SPDX-License-Identifier: Apache-2.0
"""Float32 products of the libraries that are at hand, against float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lightning_monocon.functional import onednn
from lightning_monocon.functional.products import inner_products, product


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("summed", [1, 2, 23, 24, 200])
def test_a_product_is_that_of_float64(monkeypatch: pytest.MonkeyPatch, summed: int, available: bool) -> None:
    if not available:
        monkeypatch.setattr(onednn, "is_available", lambda: False)
    generator = torch.Generator().manual_seed(summed)
    wide, tall = torch.randn(7, 300, generator=generator), torch.randn(300, 90, generator=generator)
    for rows, columns in (
        (wide[:, 5 : 5 + summed], tall[5 : 5 + summed, 10:60]),  # parts of larger matrices
        (wide[:, :summed], tall[:summed].T.contiguous().T[:, :50]),
    ):
        out = torch.full((7, 50), torch.nan)
        expected = rows.double() @ columns.double()
        found = product(rows, columns, out)
        assert found.shape == out.shape and (found - expected).abs().max() < 1e-5 * summed


def test_whole_numbers_are_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randint(-1, 2, shape, generator=generator).float() for shape in ((5, 400), (400, 60)))
    assert product(rows, columns, torch.empty(5, 60)).equal((rows.double() @ columns.double()).float())


@pytest.mark.parametrize("summed", [2, 64])
def test_what_overflows_is_infinite_without_a_warning(summed: int) -> None:
    huge = torch.full((2, summed), 1e30)
    assert product(huge, huge.T, torch.empty(2, 2)).isposinf().all()


@pytest.mark.parametrize("fault", [AttributeError, NotImplementedError, RuntimeError])
def test_numpy_multiplies_where_the_operator_is_missing(monkeypatch: pytest.MonkeyPatch, fault: type) -> None:
    def fails(*_: object) -> None:
        raise fault

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", fails)
    onednn.is_available.cache_clear()
    try:
        assert product(torch.ones(2, 64), torch.ones(64, 3), torch.empty(2, 3)).equal(torch.full((2, 3), 64.0))
    finally:
        onednn.is_available.cache_clear()


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


@pytest.mark.usefixtures("fewer_digits")
def test_sums_over_blocks_have_them_too() -> None:
    rows, columns = torch.randn(70, 200), torch.randn(200, 90)
    exact = rows.double() @ columns.double()
    assert (product(rows, columns, torch.empty(70, 90)) - exact).abs().max() < 1e-4


def test_autocast_takes_no_digits_and_no_gradient_is_kept() -> None:
    rows = torch.randn(100, 30, requires_grad=True)
    exact = rows.detach().double() @ rows.detach().double().T
    with torch.autocast("cpu", torch.bfloat16):
        for left in (rows[:9], rows):
            found = inner_products(left, rows)
            assert found.dtype == torch.float32 and not found.requires_grad
            assert (found - exact[: len(left)]).abs().max() < 1e-4
