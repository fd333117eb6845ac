# SPDX-License-Identifier: Apache-2.0
"""Test the local search against all combinations of centroids."""

from __future__ import annotations

import torch

from lightning_monocon.codes.additive import AdditiveQuantiser


def _quantiser(stages: int) -> AdditiveQuantiser:
    return AdditiveQuantiser(torch.randn(stages, 256, 6, generator=torch.Generator().manual_seed(0)), 1)


def test_no_change_of_one_centroid_improves_a_code() -> None:
    quantiser = _quantiser(3)
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(1)).double() * 2
    codes = quantiser.encode(rows)
    least = (quantiser.decode(codes) - rows).square().sum(1)
    for stage in range(3):
        changed = codes.repeat_interleave(256, 0)
        changed[:, stage] = torch.arange(256, dtype=torch.uint8).repeat(40)
        costs = (quantiser.decode(changed) - rows.repeat_interleave(256, 0)).square().sum(1).reshape(40, 256)
        assert (costs.amin(1) >= least - 1e-5).all()


def test_the_search_comes_near_the_best_of_all_pairs() -> None:
    quantiser = _quantiser(2)
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(1)).double() * 2
    first, second = quantiser.centroids.double()
    sums = (first[:, None] + second).flatten(0, 1)
    best = torch.cdist(rows, sums).square().amin(1).mean()
    found = (quantiser.decode(quantiser.encode(rows)) - rows).square().sum(1).mean()
    beam = AdditiveQuantiser(quantiser.centroids, 16)
    wider = (beam.decode(beam.encode(rows)) - rows).square().sum(1).mean()
    assert best - 1e-6 <= wider <= found
    assert wider <= 1.3 * best


def test_no_rows_have_no_codes() -> None:
    assert _quantiser(2).encode(torch.empty(0, 6)).shape == (0, 2)
