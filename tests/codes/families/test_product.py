# SPDX-License-Identifier: Apache-2.0
"""Product codes on planted clusters and Gaussian rows, and their groups against reverse water-filling."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import kl_div, normalize

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families.product import divergence_gradient, equal_rates, fit_product, mixed
from lightning_monocon.codes.families.transform import fit_transform


def decaying(count: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(count, 24, generator=torch.Generator().manual_seed(seed))
    return rows * 0.85 ** torch.arange(24) + 0.3


def test_one_byte_keeps_planted_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = normalize(torch.randn(8, 16, generator=generator))
    own = torch.arange(1200) % 8
    rows = centres[own] + 0.01 * torch.randn(1200, 16, generator=generator)
    codec = fit_product(FittingRows.of(rows), 1)
    scores = codec.score(centres, codec.encode(rows))
    assert torch.equal(scores.argmax(0), own)


@pytest.mark.parametrize("size", [2, 4])
def test_scores_are_nearer_to_the_whole_ones_than_those_of_a_transform_code(size: int) -> None:
    rows, fresh = FittingRows.of(decaying(3000)), decaying(600, seed=1)
    whole = normalize(fresh[:50]) @ normalize(fresh).T
    product, transform = (
        (codec.score(fresh[:50], codec.encode(fresh)) - whole).square().mean()
        for codec in (fit_product(rows, size), fit_transform(rows, size))
    )
    assert product < transform


def test_a_seed_decides_the_code() -> None:
    rows = FittingRows.of(decaying(600), seed=3)
    first, second = fit_product(rows, 4), fit_product(rows, 4)
    assert all(torch.equal(table, second.tensors()[name]) for name, table in first.tensors().items())
    codes = first.encode(decaying(30, seed=2))
    assert codes.shape == (30, first.bytes_per_vector)
    assert torch.equal(codes, second.encode(decaying(30, seed=2)))


def test_mixtures_vary_as_rows_do() -> None:
    rows = FittingRows.of(decaying(4000))
    pool = mixed(rows, torch.Generator().manual_seed(0))
    assert torch.equal(pool[:4000], rows.sample)
    assert pool.shape == (16_000, 24)
    torch.testing.assert_close(pool[4000:].T.cov(), rows.sample.T.cov(), atol=0.01, rtol=0.1)
    assert (pool[4000:] * rows.sample.repeat(3, 1)).sum(1).mean() > 0.9


def test_the_gradient_of_distillation_is_that_of_autograd() -> None:
    draw = torch.Generator().manual_seed(0)
    placed, queries, whole, asked = (
        normalize(torch.randn(rows, width, generator=draw, dtype=torch.float64))
        for rows, width in ((40, 6), (9, 6), (40, 24), (9, 24))
    )
    placed.requires_grad_()
    wanted, found = ((left @ right.T / 0.05).log_softmax(1) for left, right in ((asked, whole), (queries, placed)))
    kl_div(found, wanted, reduction="batchmean", log_target=True).backward()
    torch.testing.assert_close(divergence_gradient(placed.detach(), queries, whole, asked), placed.grad)


def test_groups_carry_equal_rates() -> None:
    variances = 0.98 ** torch.arange(300, dtype=torch.float64)
    cuts = equal_rates(variances, 6, 8.0)
    levels = torch.logspace(-12, 0, 200_001, dtype=torch.float64)  # the water level by search instead of by formula
    rates = (variances[None, : cuts[-1]] / levels[::100, None]).log2().clamp_min(0).sum(1) / 2
    level = levels[::100][(rates - 48).abs().argmin()]
    own = (variances / level).log2().clamp_min(0) / 2
    assert own[cuts[-1] :].sum() < 0.05
    for first, last in pairwise(cuts):
        assert abs(float(own[first:last].sum()) - 8) < 1.2


def test_more_groups_than_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="`size` must give at most one group"):
        fit_product(FittingRows.of(decaying(300)), 25)
