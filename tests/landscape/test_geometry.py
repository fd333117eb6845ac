# SPDX-License-Identifier: Apache-2.0
"""The geometry of a probe against its singular values, and against a planted power law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lightning_monocon.landscape.geometry import probe_geometry


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)], ids=["tall", "wide"])
def test_dimensions_follow_from_the_singular_values(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).standard_normal(shape) @ np.diag(np.geomspace(1, 0.1, shape[1])) + 3
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    shares = values[values > 1e-9] / values.sum()
    rank, ratio, _, n99 = probe_geometry(torch.from_numpy(rows))
    assert rank == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    assert ratio == pytest.approx((values**2).sum() ** 2 / (values**4).sum())
    assert n99 == 1 + (np.cumsum(values**2) / (values**2).sum() < 0.99).sum()


@pytest.mark.parametrize("shape", [(400, 32), (32, 400)], ids=["tall", "wide"])
@pytest.mark.parametrize("exponent", [0.3, 1.0, 1.7])
def test_the_exponent_of_a_planted_power_law_is_found(exponent: float, shape: tuple[int, int]) -> None:
    count = min(shape) - 1  # centring takes one
    generator = np.random.default_rng(1)
    left = np.linalg.qr(np.column_stack([np.ones(shape[0]), generator.standard_normal((shape[0], count))]))[0][:, 1:]
    right = np.linalg.qr(generator.standard_normal((shape[1], count)))[0]
    ranks = np.arange(1, count + 1)
    rows = left * ranks ** (-exponent / 2) @ right.T + 5
    found = probe_geometry(torch.from_numpy(rows))
    assert found.alpha_req == pytest.approx(exponent, rel=1e-6)
    assert found.n99 == 1 + (np.cumsum(ranks**-exponent) / (ranks**-exponent).sum() < 0.99).sum()
    assert probe_geometry(torch.from_numpy(rows).float()).alpha_req == pytest.approx(exponent, rel=1e-3)


def test_the_exponent_is_that_of_a_weighted_fit() -> None:
    rows = np.random.default_rng(2).standard_normal((60, 9)) * np.geomspace(1, 0.05, 9)
    spectrum = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    ranks = np.arange(1, 10)
    slope = np.polyfit(np.log(ranks), np.log(spectrum), 1, w=ranks**-0.5)[0]
    assert probe_geometry(torch.from_numpy(rows)).alpha_req == pytest.approx(-slope)


def test_one_direction_has_no_exponent() -> None:
    found = probe_geometry(torch.arange(8.0)[:, None] * torch.ones(3))
    assert math.isnan(found.alpha_req) and (found.n99, found.effective_rank) == (1, pytest.approx(1, rel=1e-5))


def test_equal_rows_have_no_dimension() -> None:
    assert all(math.isnan(value) for value in probe_geometry(torch.ones(5, 3)))
