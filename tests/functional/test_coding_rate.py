# SPDX-License-Identifier: Apache-2.0
"""The coding rate against the determinant of its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import spectra

from lightning_monocon.functional import DegenerateSampleWarning, coding_rate, rate_distortion


def rows_of(count: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) * torch.arange(1, width + 1) + 0.5


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("eps", [1e-3, 0.5, 30.0])
@pytest.mark.parametrize(("count", "width"), [(400, 12), (5, 9), (1, 3)])
def test_it_is_the_determinant_of_either_product(count: int, width: int, eps: float, normalize: bool) -> None:
    rows = rows_of(count, width)
    z = spectra.prepared(rows.numpy(), normalize)
    nats = np.linalg.slogdet(np.eye(count) + width / (count * eps**2) * z @ z.T)[1] / 2  # the other product's
    np.testing.assert_allclose(coding_rate(rows, eps, normalize), nats / np.log(2), rtol=1e-8)


@pytest.mark.parametrize("eps", [0.01, 0.3, 2.0])
def test_it_is_never_below_the_limit_at_its_error(eps: float) -> None:
    rows = rows_of(300, 10)
    z = spectra.unit(rows.numpy())
    second = torch.from_numpy(np.linalg.eigvalsh(z.T @ z / len(z)))
    assert 0 <= rate_distortion(second, eps**2) < coding_rate(rows, eps)


def test_a_rate_near_zero_keeps_its_digits() -> None:
    # log(1 + x) is x: D / (N eps^2) times the sum of squares, N of them, over 2
    np.testing.assert_allclose(coding_rate(rows_of(50, 4), eps=1e9), 4 / 1e18 / 2 / np.log(2), rtol=1e-10)


def test_degenerate_rows() -> None:
    assert coding_rate(torch.zeros(4, 3)) == 0
    with pytest.warns(DegenerateSampleWarning, match="A coding rate needs at least 1 row, got 0"):
        assert coding_rate(torch.empty(0, 3)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="overflow float64"):
        assert coding_rate(torch.full((3, 2), 1e200, dtype=torch.float64), normalize=False).isnan()


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_wrong_error_is_named(eps: float) -> None:
    with pytest.raises(ValueError, match="`eps` must be positive and finite, the length of the error of a vector; got"):
        coding_rate(torch.eye(2), eps)
