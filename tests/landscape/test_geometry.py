# SPDX-License-Identifier: Apache-2.0
"""The two dimensions of a probe against its singular values."""

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
    rank, ratio = probe_geometry(torch.from_numpy(rows))
    assert rank == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    assert ratio == pytest.approx((values**2).sum() ** 2 / (values**4).sum())


def test_equal_rows_have_no_dimension() -> None:
    assert all(math.isnan(value) for value in probe_geometry(torch.ones(5, 3)))
