# SPDX-License-Identifier: Apache-2.0
"""Every spectral function against scikit-learn's PCA or an SVD in float64, on samples chosen to hurt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import spectra
from sklearn.decomposition import PCA
from torch import Tensor

from lightning_monocon.functional import (
    DegenerateSampleWarning,
    effective_dimension,
    explained_variance,
    feature_correlation,
    mean_cosine,
    moments,
    principal_components,
    reconstruction_error,
    total_variance,
)
from lightning_monocon.functional.spectrum import numerical_rank

SHAPES = [(300, 40), (30, 64), (9, 9), (5001, 7), (2, 3), (64, 2)]


def sample(rows: int, width: int, *, offset: float = 0.0, rank: int | None = None, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, rank or width, generator=generator, dtype=torch.float64)
    x = x * torch.linspace(1.0, 0.02, x.shape[1], dtype=torch.float64)
    mix = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q
    return x @ mix[: x.shape[1]] + offset


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize(("rows", "width"), SHAPES, ids=lambda v: str(v))
def test_spectrum_equals_scikit_learn(rows: int, width: int, offset: float, normalize: bool) -> None:
    x = sample(rows, width, offset=offset)
    truth = PCA(svd_solver="full").fit(spectra.prepared(x.numpy(), normalize))
    found = explained_variance(x, normalize)[: len(truth.explained_variance_)].numpy()
    np.testing.assert_allclose(found, truth.explained_variance_, rtol=1e-6, atol=1e-9 * truth.explained_variance_.max())


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rows", "width", "offset", "rank"),
    [(400, 40, 0.0, None), (400, 40, 1e4, None), (30, 64, 0.0, None), (500, 50, 0.0, 6), (12, 40, 1e4, 3)],
)
def test_dimension_equals_scikit_learn(
    rows: int, width: int, offset: float, rank: int | None, dtype: torch.dtype, variance: float
) -> None:
    # Half precision has no digits left for a spread of 1 beside 10 000.
    x = sample(rows, width, offset=min(offset, 20.0) if dtype.itemsize == 2 else offset, rank=rank).to(dtype)
    for normalize in (True, False):
        truth = PCA(variance, svd_solver="full").fit(spectra.prepared(x.double().numpy(), normalize))
        assert effective_dimension(x, variance, normalize) == truth.n_components_


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("offset", "rank", "rows"), [(0.0, None, 400), (1e4, None, 400), (0.0, 6, 400), (0.0, None, 20)]
)
def test_reconstruction_equals_scikit_learn(offset: float, rank: int | None, rows: int, dtype: torch.dtype) -> None:
    offset = min(offset, 20.0) if dtype.itemsize == 2 else offset
    gallery = sample(rows, 40, offset=offset, rank=rank).to(dtype)
    query = (sample(90, 40, offset=offset, seed=1) + 0.1).to(dtype)
    for normalize in (True, False):
        g, q = (spectra.prepared(x.double().numpy(), normalize) for x in (gallery, query))
        pca = PCA(0.99, svd_solver="full").fit(g)
        found = reconstruction_error(gallery, query, normalize=normalize)
        assert found.dimension == pca.n_components_
        rmse, fvu = spectra.reconstruction(g, q, pca.n_components_)
        np.testing.assert_allclose(
            found.rmse, np.sqrt(np.mean((q - pca.inverse_transform(pca.transform(q))) ** 2)), rtol=1e-6
        )
        np.testing.assert_allclose([found.rmse, found.fvu], [rmse, fvu], rtol=1e-6)


def test_an_exact_tie_counts_as_reached() -> None:
    x = torch.tensor([[3.0, 0.0], [-3.0, 0.0]]).repeat(11, 1)
    x = torch.cat([x, torch.tensor([[0.0, 1.0], [0.0, -1.0]])])  # variances 198 : 2, the first holds exactly 99 %
    assert effective_dimension(x, normalize=False) == 1
    assert effective_dimension(x, variance=0.9901, normalize=False) == 2


def test_the_whole_variance_of_a_low_rank_set_is_its_rank() -> None:
    assert effective_dimension(sample(200, 30, rank=5, offset=3.0), variance=1.0, normalize=False) == 5


def test_components_are_ordered_directions() -> None:
    x = sample(400, 12, offset=5.0)
    mean, components, variances = principal_components(x, normalize=False)
    torch.testing.assert_close(components @ components.T, torch.eye(12, dtype=torch.float64))
    torch.testing.assert_close(((x - mean) @ components.T).var(dim=0), variances)
    assert bool((variances.diff() <= 0).all())


def test_correlation_leaves_constant_features_out_and_counts_them() -> None:
    x = sample(300, 10, offset=1e4)
    x[:, 3], x[:, 7] = 0.1, 0.0
    found = feature_correlation(x, normalize=False)
    np.testing.assert_allclose(found.rms, spectra.rms_correlation(np.delete(x.numpy(), [3, 7], axis=1)), rtol=1e-7)
    assert found.constant_features == 2


def test_total_variance_and_mean_cosine_equal_their_sums() -> None:
    x = sample(200, 16, offset=0.3)
    np.testing.assert_allclose(total_variance(x), spectra.unit(x.numpy()).var(0, ddof=1).sum(), rtol=1e-12)
    np.testing.assert_allclose(mean_cosine(x), spectra.mean_pair_cosine(x.numpy()), rtol=1e-10)


@pytest.mark.parametrize("parts", [1, 3, 50, 200])
def test_moments_do_not_depend_on_layout_or_order(parts: int) -> None:
    x = sample(200, 6, offset=1e4)
    shuffled = x[torch.randperm(200, generator=torch.Generator().manual_seed(parts))]
    strided = torch.stack([shuffled, -shuffled], dim=2)[:, :, 0]
    for first, second in zip(moments(x, False), moments(strided, False), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-10)


def test_the_input_is_left_as_it_was() -> None:
    x = sample(50, 4)
    before = x.clone()
    moments(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("function", [effective_dimension, explained_variance, feature_correlation])
@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (torch.ones(1, 3), "A covariance needs at least 2 rows, got 1"),
        (torch.empty(0, 3), "A covariance needs at least 2 rows, got 0"),
        (torch.full((100, 3), 0.1), "All 100 rows are equal: there is no variance"),
    ],
)
def test_a_degenerate_sample_is_nan_with_its_cause(function: object, rows: Tensor, cause: str) -> None:
    with pytest.warns(DegenerateSampleWarning, match=cause):
        value = function(rows)  # type: ignore[operator]
    assert torch.isnan(value if isinstance(value, Tensor) else value[0]).all()


def test_overflow_is_nan_with_its_cause() -> None:
    with pytest.warns(DegenerateSampleWarning, match="overflow float64"):
        assert effective_dimension(
            torch.tensor([[1e200, 0.0], [-1e200, 1.0]], dtype=torch.float64), normalize=False
        ).isnan()


def test_pairs_and_variances_need_two_rows() -> None:
    with pytest.warns(DegenerateSampleWarning, match="A mean cosine of pairs needs at least 2 rows, got 1"):
        assert mean_cosine(torch.ones(1, 3)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="A variance needs at least 2 rows, got 1"):
        assert total_variance(torch.ones(1, 3)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="at least 1 query row, got 0"):
        assert reconstruction_error(sample(9, 3), torch.empty(0, 3)).rmse.isnan()


def test_wrong_input_is_named() -> None:
    x = sample(9, 3)
    with pytest.raises(TypeError, match=r"`embeddings` must be a torch.Tensor of shape \(N, D\); got list"):
        effective_dimension([[1.0]])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must be float16, bfloat16, float32 or float64; got torch[.]int64"):
        effective_dimension(torch.ones(3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"`embeddings` must be \(N, D\) with D >= 1; got shape \(3,\)"):
        effective_dimension(torch.ones(3))
    with pytest.raises(ValueError, match=r"`variance` must lie in \(0, 1\], a share of the total; got 99"):
        effective_dimension(x, variance=99)
    with pytest.raises(ValueError, match="`query` must have 3 features like the rows before; got 4"):
        reconstruction_error(x, torch.ones(5, 4))
    with pytest.raises(ValueError, match="`nan_strategy` must be one of 'error', 'warn', 'ignore'; got 'drop'"):
        moments(x, nan_strategy="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_rows_that_are_not_finite(bad: float) -> None:
    x = sample(30, 4)
    spoilt = torch.cat([x, x[:2]])
    spoilt[30:, 1] = bad
    with pytest.raises(ValueError, match="`embeddings` must be finite; 2 of 32 rows hold NaN or Inf"):
        moments(spoilt)
    with pytest.warns(UserWarning, match="2 of 32 rows of `embeddings` hold NaN or Inf and are left out"):
        warned = moments(spoilt, nan_strategy="warn")
    for found in (warned, moments(spoilt, nan_strategy="ignore")):
        for first, second in zip(found, moments(x), strict=True):
            assert torch.equal(first, second)


def test_rank_ignores_rounding() -> None:
    assert numerical_rank(torch.tensor([0.5, 1e-3, 1e-9, 1e-16, 0.0], dtype=torch.float64)) == 3
