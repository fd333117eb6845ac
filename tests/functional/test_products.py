# SPDX-License-Identifier: Apache-2.0
"""Float32 products of the libraries that are at hand, against float64."""

import pytest
import torch

from lightning_monocon.functional import products
from lightning_monocon.functional.products import product


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("summed", [1, 2, 23, 24, 200])
def test_a_product_is_that_of_float64(monkeypatch: pytest.MonkeyPatch, summed: int, onednn: bool) -> None:
    if not onednn:
        monkeypatch.setattr(products, "_has_onednn", lambda: False)
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
    products._has_onednn.cache_clear()
    try:
        assert product(torch.ones(2, 64), torch.ones(64, 3), torch.empty(2, 3)).equal(torch.full((2, 3), 64.0))
    finally:
        products._has_onednn.cache_clear()
