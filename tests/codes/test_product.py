# SPDX-License-Identifier: Apache-2.0
"""The product quantiser against scikit-learn, every code of a small group, and float64."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin

from lightning_monocon.codes.product import ProductQuantiser, Search, nearest, smallest, summed


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_codes_name_the_centroid_that_scikit_learn_finds_nearest() -> None:
    widths = (2, 3, 7)
    tables = [normal(1, 256, width, seed=width) for width in widths]
    weights = torch.rand(12, generator=torch.Generator().manual_seed(1)) + 0.5
    quantiser = ProductQuantiser(weights, tables, tables)
    rows = normal(1500, 12).double()
    codes = quantiser.encode(rows)
    weighted = (rows * weights.double()).split(widths, 1)
    for column, (part, table) in enumerate(zip(weighted, tables, strict=True)):
        assert codes[:, column].tolist() == pairwise_distances_argmin(part.numpy(), table[0].double().numpy()).tolist()
    assert torch.equal(
        quantiser.decode(codes), torch.cat([t[0][c.long()] for t, c in zip(tables, codes.T, strict=True)], 1)
    )


def test_a_beam_that_keeps_everything_finds_the_best_sum() -> None:
    table = normal(2, 256, 3)
    rows = normal(40, 3, seed=1).double()
    codes, _ = Search.of(table, 255, torch.float64)(rows)
    sums = (table[0][:, None] + table[1]).flatten(0, 1).double()
    best = torch.cdist(rows, sums).min(1).values
    found = torch.linalg.vector_norm(rows - summed(table.double(), codes), dim=1)
    torch.testing.assert_close(found, best)


@pytest.mark.parametrize(("stages", "beam"), [(1, 1), (4, 2)])
def test_rows_on_a_boundary_get_the_code_of_float64(stages: int, beam: int) -> None:
    table = normal(stages, 256, 5)
    middles = (table[0][:128] + table[0][128:]) / 2
    rows = torch.cat([middles.double() * (1 + sign * 1e-9) for sign in (-1, 0, 1)])
    searches = {dtype: Search.of(table, beam, dtype) for dtype in (torch.float32, torch.float64)}
    assert torch.equal(nearest(rows, searches), searches[torch.float64](rows)[0])
    assert not torch.equal(searches[torch.float32](rows.float())[0], searches[torch.float64](rows)[0])


@pytest.mark.parametrize(("stages", "beam"), [(1, 1), (4, 3)])
def test_margins_in_float32_are_off_by_no_more_than_the_bound(stages: int, beam: int) -> None:
    table, rows = normal(stages, 256, 40) / 8, normal(500, 40, seed=1).double()
    fast, exact = (Search.of(table, beam, dtype) for dtype in (torch.float32, torch.float64))
    (codes, margin), (exact_codes, exact_margin) = fast(rows.float()), exact(rows)
    same = (codes == exact_codes).all(1)
    off, bound = (margin - exact_margin).abs()[same], fast.rounding(rows)[same]
    assert same.sum() > 490
    assert (off <= bound).all()
    assert off.max() > bound.min() / 200  # not so loose that most rows are searched twice


@pytest.mark.parametrize(("columns", "count"), [(256, 1), (256, 4), (1024, 8)])
def test_the_smallest_are_those_of_topk_and_the_margin_leads_to_the_next(columns: int, count: int) -> None:
    costs = normal(100, columns)
    expected, where = costs.topk(count + 1, 1, largest=False)
    values, places, margin = smallest(costs.clone(), count)
    assert torch.equal(values, expected[:, :-1])
    assert torch.equal(places, where[:, :-1])
    assert torch.equal(margin, expected[:, -1] - expected[:, -2])
