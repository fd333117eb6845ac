# SPDX-License-Identifier: Apache-2.0
"""Effective ranks and the spectrum's decay against SVDs, `np.polyfit` and SciPy's entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import spectra
from scipy.stats import entropy
from torch import Tensor

from lightning_monocon.functional import (
    DegenerateSampleWarning,
    alpha_req,
    participation_ratio,
    spectral_effective_rank,
    stable_rank,
)


def sample(rows: int = 300, width: int = 24, offset: float = 0.3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64)
    spread = torch.arange(1, width + 1, dtype=torch.float64).pow(-0.7)
    return (torch.randn(rows, width, generator=generator, dtype=torch.float64) * spread) @ mix + offset


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("rows", [300, 12])
@pytest.mark.parametrize("centred", [True, False])
def test_ranks_equal_those_of_the_singular_values(centred: bool, rows: int, normalize: bool) -> None:
    x = sample(rows)
    prepared = spectra.prepared(x.numpy(), normalize)
    singular = np.linalg.svd(prepared - prepared.mean(0) * centred, compute_uv=False)
    singular[singular < 1e-12] = 0.0
    for values, weights in (("singular", singular), ("eigenvalues", singular**2)):
        found = spectral_effective_rank(x, centred, values, normalize)  # type: ignore[arg-type]
        # A centred set of few rows has an eigenvalue that is rounding, whose root is 1e-8 of the largest.
        np.testing.assert_allclose(found, np.exp(entropy(weights)), rtol=1e-6)
    np.testing.assert_allclose(stable_rank(x, centred, normalize), (singular**2).sum() / singular[0] ** 2, rtol=1e-9)


def test_participation_ratio_equals_that_of_the_eigenvalues() -> None:
    lam = spectra.variances(spectra.unit(sample().numpy()))
    np.testing.assert_allclose(participation_ratio(sample()), lam.sum() ** 2 / (lam**2).sum(), rtol=1e-10)


def test_correlation_is_a_function_of_the_participation_ratio() -> None:
    from lightning_monocon.functional import feature_correlation

    x = sample()
    standard = (x - x.mean(0)) / x.std(0)
    ratio, width = participation_ratio(standard, normalize=False), x.shape[1]
    expected = ((width / ratio - 1) / (width - 1)).sqrt()
    torch.testing.assert_close(feature_correlation(x, normalize=False).rms, expected)


@pytest.mark.parametrize(("first", "last"), [(1, None), (3, 20), (5, None)])
def test_alpha_equals_a_weighted_fit(first: int, last: int | None) -> None:
    x = sample()
    lam = spectra.variances(x.numpy())
    ranks = np.arange(1, len(lam) + 1)[first - 1 : last]
    # `polyfit` squares its weights
    slope = np.polyfit(np.log(ranks), np.log(lam[first - 1 : last]), 1, w=ranks**-0.5)[0]
    np.testing.assert_allclose(alpha_req(x, first, last), -slope, rtol=1e-9)


def test_alpha_of_a_power_law_is_its_exponent_and_zeros_do_not_count() -> None:
    rows = torch.diag(torch.arange(1.0, 33.0, dtype=torch.float64).pow(-0.6))
    rows = torch.cat([rows, -rows]) @ torch.eye(32, 40, dtype=torch.float64)
    assert alpha_req(rows) == pytest.approx(1.2, abs=1e-9)


def test_degenerate_spectra_are_nan_with_their_cause() -> None:
    with pytest.warns(DegenerateSampleWarning, match="All 5 rows are zero"):
        assert spectral_effective_rank(torch.zeros(5, 3)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="A covariance needs at least 2 rows, got 1"):
        assert spectral_effective_rank(torch.ones(1, 3)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="there is no variance"):
        assert stable_rank(torch.ones(5, 3)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="there is no variance"):
        assert alpha_req(torch.ones(5, 3)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="A slope needs at least 2 positive variances, got 1"):
        assert alpha_req(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).isnan()


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="`first` and `last` must be components with 1 <= first < last; got 4 and 4"):
        alpha_req(sample(), 4, 4)
    with pytest.raises(ValueError, match="`values` must be one of 'singular', 'eigenvalues'; got 'eigen'"):
        spectral_effective_rank(sample(), values="eigen")  # type: ignore[arg-type]
