# SPDX-License-Identifier: Apache-2.0
"""The product quantiser against scikit-learn, every code of a small group, and float64."""

from __future__ import annotations

import itertools

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
    codes, _ = Search.of(table.double(), 255)(rows)
    sums = (table[0][:, None] + table[1]).flatten(0, 1).double()
    best = torch.cdist(rows, sums).min(1).values
    found = torch.linalg.vector_norm(rows - summed(table.double(), codes), dim=1)
    torch.testing.assert_close(found, best)


@pytest.mark.parametrize(("stages", "beam"), [(1, 1), (4, 2)])
def test_rows_on_a_boundary_get_the_code_of_float64(stages: int, beam: int) -> None:
    table = normal(stages, 256, 5)
    middles = (table[0][:128] + table[0][128:]) / 2
    rows = torch.cat([middles.double() * (1 + sign * 1e-9) for sign in (-1, 0, 1)])
    searches = {dtype: Search.of(table.to(dtype), beam) for dtype in (torch.float32, torch.float64)}
    assert torch.equal(nearest(rows, searches).long(), searches[torch.float64](rows)[0])
    assert not torch.equal(searches[torch.float32](rows.float())[0], searches[torch.float64](rows)[0])


def test_the_margin_is_the_distance_to_the_next_choice() -> None:
    costs = torch.tensor([[3.0, 1.0, 2.5, 7.0]])
    for count, margin in itertools.zip_longest((1, 2, 3), (1.5, 0.5, 4.0)):
        values, places, gap = smallest(costs, count)
        assert values[0].tolist() == sorted(costs[0].tolist())[:count]
        assert costs[0, places[0]].tolist() == values[0].tolist()
        assert gap.item() == margin
