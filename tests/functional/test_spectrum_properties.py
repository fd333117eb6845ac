# SPDX-License-Identifier: Apache-2.0
"""Properties of the spectral figures on random shapes, scales, offsets, ranks and dtypes."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import spectra

from lightning_monocon.functional import (
    DegenerateSampleWarning,
    effective_dimension,
    explained_variance,
    participation_ratio,
    reconstruction_error,
    spectral_effective_rank,
    stable_rank,
    total_variance,
)


def drawn(
    rows: int, width: int, rank: int, decay: float, offset: float, scale: float, dtype: torch.dtype, seed: int
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rank = min(rank, width)
    spread = torch.arange(1, rank + 1, dtype=torch.float64).pow(-decay)
    mix = torch.randn(rank, width, generator=generator, dtype=torch.float64)
    x = torch.randn(rows, rank, generator=generator, dtype=torch.float64) * spread @ mix
    return ((x + offset) * scale).to(dtype)


ROWS, WIDTH, DECAY = st.integers(2, 60), st.integers(2, 24), st.floats(0.0, 2.0)
SEED = st.integers(0, 2**16)
SHAPE = {"rows": ROWS, "width": WIDTH, "rank": WIDTH, "decay": DECAY, "seed": SEED}
HOSTILE = st.builds(
    drawn,
    offset=st.sampled_from([0.0, 1.0, 1e4]),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    **SHAPE,
)
PLAIN = st.builds(drawn, offset=st.just(1.0), scale=st.just(1.0), dtype=st.just(torch.float64), **SHAPE)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(x=HOSTILE, normalize=st.booleans(), variance=st.sampled_from([0.5, 0.9, 0.99]))
def test_spectrum_and_its_bounds(x: torch.Tensor, normalize: bool, variance: float) -> None:
    truth = spectra.variances(spectra.prepared(x.double().numpy(), normalize))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateSampleWarning)
        found = explained_variance(x, normalize)
        ranks = [f(x, normalize=normalize) for f in (participation_ratio, stable_rank, spectral_effective_rank)]
        dimension = effective_dimension(x, variance, normalize)
        error = reconstruction_error(x, x, variance, normalize)
    if torch.isnan(found).any():  # one row repeated, after rounding
        assert truth.sum() <= 1e-20 * np.square(spectra.prepared(x.double().numpy(), normalize)).sum()
        return
    np.testing.assert_allclose(found.numpy(), truth, rtol=1e-6, atol=1e-7 * truth[0])
    share = truth.cumsum() / truth.sum()
    # Where rounding could decide, either count is right.
    assert (share < variance - 1e-7).sum() + 1 <= dimension <= (share < variance + 1e-7).sum() + 1
    limit = min(x.shape) + 1e-6
    assert all(1 - 1e-9 <= rank <= limit for rank in ranks)
    np.testing.assert_allclose(error.fvu, 1 - share[int(dimension) - 1], atol=1e-6)
    assert 0 <= error.fvu <= 1 - variance + 1e-9
    torch.testing.assert_close(error.rmse.square() * x.numel(), error.fvu * total_variance(x, normalize) * (len(x) - 1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(x=PLAIN, seed=st.integers(0, 99))
def test_rotation_permutation_and_scale_change_nothing(x: torch.Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(x.shape[1], x.shape[1], generator=generator, dtype=torch.float64)).Q
    moved = 3.0 * x[torch.randperm(len(x), generator=generator)] @ rotation
    found = explained_variance(x)
    torch.testing.assert_close(explained_variance(moved), found, rtol=1e-8, atol=1e-10 * float(found[0]))
