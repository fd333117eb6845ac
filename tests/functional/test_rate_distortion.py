# SPDX-License-Identifier: Apache-2.0
"""The limit of Gaussian sources against its definition, solved by root finding, and against a real quantiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from lightning_monocon.functional import (
    DegenerateSampleWarning,
    component_rates,
    distortion_rate,
    explained_variance,
    rate_distortion,
)

SPECTRA = {
    "power law": np.arange(1, 51) ** -1.5,
    "steps of equal ones": np.repeat([7.0, 7.0, 2.0, 0.1], 5),
    "zeros among them": np.array([0.0, 3.0, 0.0, 1.0, 0.5]),
    "twelve decades": np.logspace(2, -10, 30),
    "one": np.array([4.0]),
    "tiny": np.arange(1, 9) * 1e-280,
    "a long tail": np.r_[1.0, np.full(2000, 1e-5)],
}


def rate_by_search(variances: np.ndarray, distortion: float) -> float:
    """Solve for the water level, in its logarithm."""
    own = variances[variances > 0]

    def excess(log_level: float) -> float:
        return float(np.log(np.minimum(np.exp(log_level), own).sum() / distortion))

    level = np.exp(brentq(excess, np.log(distortion / len(own)) - 1, np.log(own.max()) + 1e-9, xtol=1e-13, rtol=1e-14))
    return float(np.maximum(0, np.log2(own / level) / 2).sum())


@pytest.mark.parametrize("share", [0.999, 0.5, 0.1, 0.01, 1e-6])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_rate_solves_the_definition(name: str, share: float) -> None:
    variances = SPECTRA[name]
    distortion = share * variances.sum()
    found = rate_distortion(torch.from_numpy(variances), distortion)
    np.testing.assert_allclose(found, rate_by_search(variances, distortion), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(distortion_rate(torch.from_numpy(variances), found), distortion, rtol=1e-10)


def test_no_other_share_of_the_bits_has_a_smaller_error() -> None:
    variances = np.array([5.0, 2.0, 1.0, 0.3, 0.05])
    bits = 3.0
    # Minimised over any rates that sum to the bits, which knows nothing of a water level.
    best = minimize(
        lambda rates: (variances * 4.0**-rates).sum(),
        np.full(5, bits / 5),
        bounds=[(0, None)] * 5,
        constraints={"type": "eq", "fun": lambda rates: rates.sum() - bits},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(distortion_rate(torch.from_numpy(variances), bits), best.fun, rtol=1e-7)
    np.testing.assert_allclose(component_rates(torch.from_numpy(variances), bits), best.x, atol=1e-4)


@pytest.mark.parametrize("width", [1, 3, 384])
def test_equal_variances_have_a_closed_form(width: int) -> None:
    variances = torch.full((width,), 0.7, dtype=torch.float64)
    distortions = torch.tensor([[0.01, 0.1], [0.7, 0.9]], dtype=torch.float64) * width
    expected = (width / 2 * torch.log2(0.7 * width / distortions)).clamp_min(0.0)
    torch.testing.assert_close(rate_distortion(variances, distortions), expected, rtol=1e-12, atol=1e-12)
    bits = torch.tensor([0.0, 1.0, 500.0], dtype=torch.float64)
    torch.testing.assert_close(distortion_rate(variances, bits), 0.7 * width * 4.0 ** (-bits / width))


def test_a_fine_scalar_quantiser_is_a_quarter_of_a_bit_above() -> None:
    values = np.random.default_rng(0).normal(size=200_000)
    cells = np.round(values / 0.1).astype(int)
    shares = np.unique(cells, return_counts=True)[1] / len(cells)
    entropy = -(shares * np.log2(shares)).sum()
    error = np.mean((values - 0.1 * cells) ** 2)
    limit = rate_distortion(torch.ones(1), float(error))
    assert abs(entropy - limit - np.log2(np.pi * np.e / 6) / 2) < 0.005


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    variances=st.lists(st.floats(1e-6, 1e6) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=20),
    bits=st.floats(0.0, 400.0),
)
def test_both_directions_and_the_shares_agree(variances: list[float], bits: float) -> None:
    own = torch.tensor(variances, dtype=torch.float64)
    if not own.any():
        assert rate_distortion(own, 0.0) == 0 and distortion_rate(own, bits) == 0
        assert not component_rates(own, bits).any()
        return
    distortion = distortion_rate(own, bits)
    torch.testing.assert_close(rate_distortion(own, distortion).item(), bits, rtol=1e-9, atol=1e-7)
    rates = component_rates(own, bits)
    torch.testing.assert_close(rates.sum().item(), bits, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close((own * 4.0**-rates).sum(), distortion)
    torch.testing.assert_close(distortion_rate(own.flip(0) * 1e30, bits), distortion * 1e30)


def test_the_ends() -> None:
    variances = torch.tensor([4.0, 1.0])
    assert rate_distortion(variances, 5.0) == 0 == rate_distortion(variances, 6.0)
    assert rate_distortion(variances, 0.0) == torch.inf
    assert distortion_rate(variances, 0) == 5
    assert distortion_rate(variances, 1e6) == 0
    assert component_rates(variances, 1e6).tolist() == [500_000.5, 499_999.5]


def test_rows_without_variance_give_nan() -> None:
    with pytest.warns(DegenerateSampleWarning, match="All 9 rows are equal"):
        variances = explained_variance(torch.ones(9, 3))
    assert rate_distortion(variances, torch.ones(2)).isnan().all()
    assert distortion_rate(variances, 3.0).isnan()
    assert component_rates(variances, 3.0).isnan().all()


def test_wrong_input_is_named() -> None:
    variances = torch.tensor([2.0, 1.0])
    with pytest.raises(TypeError, match=r"`variances` must be a floating-point tensor; got torch[.]int64[.] Take them"):
        rate_distortion(torch.tensor([2, 1]), 1.0)
    with pytest.raises(ValueError, match=r"got shape \(2, 2\)[.] For rows pass `explained_variance\(rows\)`"):
        rate_distortion(torch.eye(2), 1.0)
    with pytest.raises(ValueError, match=r"`variances` must be finite and not negative; got -0[.]5[.] Clamp"):
        component_rates(torch.tensor([2.0, -0.5]), 1.0)
    with pytest.raises(ValueError, match="`distortion` must be finite and not negative; got -1"):
        rate_distortion(variances, torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="`bits` must be finite and not negative; got nan"):
        distortion_rate(variances, float("nan"))
