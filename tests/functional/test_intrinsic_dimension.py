# SPDX-License-Identifier: Apache-2.0
"""Intrinsic dimensions against scikit-dimension's values and known manifolds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from lightning_monocon.functional import DegenerateSampleWarning, local_intrinsic_dimension, two_nn


def noisy_plane() -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.hstack([rng.standard_normal((500, 4)), rng.standard_normal((500, 6)) * 0.01]))


def test_two_nn_equals_scikit_dimension() -> None:
    # scikit-dimension 0.5.0: skdim.id.TwoNN(discard_fraction=0.1).fit(x).dimension_
    assert two_nn(noisy_plane()).dimension == pytest.approx(4.153759195864159, rel=1e-9)


def test_maximum_likelihood_equals_scikit_dimension() -> None:
    # scikit-dimension 0.5.0: skdim.id.MLE(K=20), pointwise, mean and harmonic mean
    assert local_intrinsic_dimension(noisy_plane(), 20, "mean").dimension == pytest.approx(4.21207171475193, rel=1e-9)
    assert local_intrinsic_dimension(noisy_plane(), 20).dimension == pytest.approx(3.946354530584178, rel=1e-9)


def test_maximum_likelihood_equals_its_formula_on_scikit_learn_neighbours() -> None:
    x = noisy_plane()
    distances = NearestNeighbors(n_neighbors=7).fit(x.numpy()).kneighbors()[0]
    local = 1 / np.log(distances[:, -1:] / distances[:, :-1]).mean(1)
    assert local_intrinsic_dimension(x, 7, "mean").dimension == pytest.approx(local.mean(), rel=1e-10)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_cube_in_a_larger_space_has_its_dimension(dim: int) -> None:
    generator = torch.Generator().manual_seed(dim)
    x = torch.rand(3000, dim, generator=generator) @ torch.randn(dim, 20, generator=generator) + 100.0
    assert two_nn(x).dimension == pytest.approx(dim, rel=0.12)
    assert local_intrinsic_dimension(x).dimension == pytest.approx(dim, rel=0.12)


def test_copies_are_left_out_and_counted() -> None:
    x = noisy_plane()
    doubled = torch.cat([x, x[:40]])
    found = two_nn(doubled)
    assert found.left_out == 80
    assert found.dimension == pytest.approx(4.15, rel=0.15)


def test_too_little_is_nan_with_its_cause() -> None:
    with pytest.warns(DegenerateSampleWarning, match="of 2 neighbours needs at least 4 rows, got 3"):
        assert two_nn(torch.eye(3)).dimension.isnan()
    with pytest.warns(DegenerateSampleWarning, match="9 of 9 rows have a copy: no distance is left"):
        assert two_nn(torch.ones(9, 3)).dimension.isnan()


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"`discard` must lie in \[0, 1\), a share of the rows; got 1"):
        two_nn(noisy_plane(), discard=1)
    with pytest.raises(ValueError, match="`k` must be an integer of at least 2; got 1"):
        local_intrinsic_dimension(noisy_plane(), k=1)
    with pytest.raises(ValueError, match="`average` must be one of 'harmonic', 'mean'; got 'median'"):
        local_intrinsic_dimension(noisy_plane(), average="median")  # type: ignore[arg-type]
