# SPDX-License-Identifier: Apache-2.0
"""Uniformity, alignment, CKA, diffusion entropy, neural collapse and the truncation curve against dense formulas."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from oracles import spectra
from scipy.spatial.distance import pdist
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from lightning_monocon.functional import (
    DegenerateSampleWarning,
    alignment,
    diffusion_spectral_entropy,
    linear_cka,
    neural_collapse,
    truncation_curve,
    uniformity,
)


def clusters(rows: int = 200, width: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(4, width, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    labels = torch.randint(4, (rows,), generator=generator)
    return centres[labels] + 0.7 * torch.randn(rows, width, generator=generator, dtype=torch.float64), labels


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_equals_the_mean_over_pairs(t: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[uniformity.__module__], "_TILE", 33)
    x = clusters()[0]
    expected = np.log(np.exp(-t * pdist(spectra.unit(x.numpy()), "sqeuclidean")).mean())
    np.testing.assert_allclose(uniformity(x, t), expected, rtol=1e-10)


def test_alignment_equals_the_mean_over_positives() -> None:
    x, y = clusters()[0], clusters(seed=1)[0]
    distances = np.linalg.norm(spectra.unit(x.numpy()) - spectra.unit(y.numpy()), axis=1)
    np.testing.assert_allclose(alignment(x, y, 3.0), (distances**3).mean(), rtol=1e-12)


def u_centred(kernel: np.ndarray) -> np.ndarray:
    """Szekely & Rizzo's U-centring: the inner product of two such matrices is the unbiased HSIC."""
    n, kernel = len(kernel), kernel - np.diag(np.diag(kernel))
    sums = kernel.sum(0)
    centred = kernel - sums[:, None] / (n - 2) - sums / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return centred - np.diag(np.diag(centred))


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("rows", [4, 9, 60])
def test_cka_equals_the_u_centred_kernels(rows: int, offset: float) -> None:
    x = clusters(rows)[0]
    y = torch.cat([x[:, :3].square(), clusters(rows, 2, seed=1)[0]], dim=1)
    k, l = (u_centred((z.numpy() - z.numpy().mean(0)) @ (z.numpy() - z.numpy().mean(0)).T) for z in (x, y))  # noqa: E741
    expected = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
    np.testing.assert_allclose(linear_cka(x + offset, y - offset), expected, rtol=1e-6)


def test_cka_of_independent_wide_embeddings_is_zero_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    values = [
        linear_cka(torch.randn(20, 200, generator=generator), torch.randn(20, 200, generator=generator))
        for _ in range(100)
    ]
    assert abs(torch.stack(values).mean()) < 0.02  # the biased estimator gives 0.9


@pytest.mark.parametrize(("sigma", "t"), [(1.0, 1), (0.5, 1), (2.0, 3)])
def test_diffusion_entropy_equals_the_definition(sigma: float, t: int) -> None:
    x = clusters(80)[0].numpy() + 50.0
    gauss = np.exp(-(pairwise_distances(x - 50.0) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    walk = gauss / gauss.sum(1, keepdims=True)  # the Markov matrix: the same spectrum as the symmetric kernel
    values = np.sort(np.abs(np.linalg.eigvals(walk)))[::-1][1:] ** t
    np.testing.assert_allclose(
        diffusion_spectral_entropy(torch.from_numpy(x), sigma, t), entropy(values, base=2), rtol=1e-6
    )


def test_diffusion_entropy_of_the_authors_code() -> None:
    # github.com/ChenLiu-1996/DiffusionSpectralEntropy, api/dse.py at 317f019, run on these rows with sigma=1, t=2
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 3)))
    assert diffusion_spectral_entropy(x, sigma=1.0, t=2) == pytest.approx(3.06834780621638, rel=1e-9)


@pytest.mark.parametrize("normalize", [True, False])
def test_neural_collapse_equals_its_definition(normalize: bool) -> None:
    x, labels = clusters(300)
    x = x + 5.0
    rows, y = spectra.prepared(x.numpy(), normalize), labels.numpy()
    means = np.stack([rows[y == c].mean(0) for c in range(4)])
    within = sum(np.outer(r, r) for r in rows - means[y]) / len(rows)
    centred = means - means.mean(0)
    nc1 = np.trace(within @ np.linalg.pinv(centred.T @ centred / 4, rcond=1e-10)) / 4
    gram = centred @ centred.T
    ideal = (np.eye(4) - 0.25) / np.linalg.norm(np.eye(4) - 0.25)
    found = neural_collapse(x, labels, normalize)
    np.testing.assert_allclose(found.nc1, nc1, rtol=1e-8)
    np.testing.assert_allclose(found.simplex_distance, np.linalg.norm(gram / np.linalg.norm(gram) - ideal), rtol=1e-8)


def test_a_collapsed_simplex_has_both_at_zero() -> None:
    noise = 1e-4 * torch.randn(400, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(400) % 4
    found = neural_collapse(torch.eye(4, 6, dtype=torch.float64)[labels] * 3 + noise, labels)
    assert found.nc1 < 1e-7
    assert found.simplex_distance < 1e-3


def test_truncation_equals_pca_and_a_classifier() -> None:
    (gallery, known), (query, truth) = clusters(300), clusters(150, seed=1)
    curve = truncation_curve(gallery, known, query, truth, dims=(2, 4, 7), k=3)
    train, test = spectra.unit(gallery.numpy()), spectra.unit(query.numpy())
    for dim, scores in curve.items():
        pca = PCA(dim, svd_solver="full").fit(train)
        fitted, asked = (train, test) if dim == 7 else (pca.transform(train), pca.transform(test))
        for k, name in ((3, "knn_accuracy"), (1, "recall@1")):
            model = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(fitted, known.numpy())
            assert scores[name] == pytest.approx(model.score(asked, truth.numpy()), abs=1e-12)


def test_too_little_is_nan_with_its_cause() -> None:
    one = torch.ones(1, 3)
    with pytest.warns(DegenerateSampleWarning, match="Uniformity is of pairs and needs at least 2 rows, got 1"):
        assert uniformity(one).isnan()
    with pytest.warns(DegenerateSampleWarning, match="Alignment needs at least 1 pair, got 0"):
        assert alignment(one[:0], one[:0]).isnan()
    with pytest.warns(DegenerateSampleWarning, match="An unbiased CKA needs at least 4 rows, got 1"):
        assert linear_cka(one, one).isnan()
    with pytest.warns(DegenerateSampleWarning, match="One of the embeddings does not vary"):
        assert linear_cka(torch.ones(9, 3), torch.eye(9)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="Diffusion spectral entropy needs at least 3 rows, got 1"):
        assert diffusion_spectral_entropy(one).isnan()
    with pytest.warns(DegenerateSampleWarning, match="All rows are within a small part of `sigma`"):
        assert diffusion_spectral_entropy(torch.ones(9, 3)).isnan()
    with pytest.warns(DegenerateSampleWarning, match="Neural collapse needs at least 2 classes, got 1"):
        assert neural_collapse(torch.eye(3), torch.zeros(3, dtype=torch.int64)).nc1.isnan()
    with pytest.warns(DegenerateSampleWarning, match="All class means are equal"):
        assert neural_collapse(torch.ones(6, 2), torch.arange(6) % 2).nc1.isnan()


def test_wrong_input_is_named() -> None:
    x, labels = clusters(20)
    with pytest.raises(ValueError, match="`t` must be positive; got 0"):
        uniformity(x, t=0)
    with pytest.raises(ValueError, match="`alpha` must be positive; got -1"):
        alignment(x, x, alpha=-1)
    with pytest.raises(ValueError, match="`second` must have 20 rows, the same inputs as `first`; got 19"):
        linear_cka(x, x[1:])
    with pytest.raises(ValueError, match=r"`t` must be a positive integer, the steps of the walk; got 0[.]5"):
        diffusion_spectral_entropy(x, t=0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`labels` must lie in 0 ... 3 for num_classes=4; got -1 ... 3"):
        neural_collapse(x, labels.index_fill(0, torch.tensor([0]), -1).index_fill(0, torch.tensor([1]), 3))
    with pytest.raises(ValueError, match="`dims` must be at most 7, the features of the embeddings; got 8"):
        truncation_curve(x, labels, x, labels, dims=(8,))
