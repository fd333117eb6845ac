# SPDX-License-Identifier: Apache-2.0
"""Norms of rows whose squares leave the range of their dtype.

The oracle is exact: multiplied by a power of two, a row keeps its direction to the last bit, so whatever is a function
of directions must give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_monocon import functional
from lightning_monocon.functional.unit_rows import binary_scale, tame_rows, unit_rows
from lightning_monocon.landscape.credence import soft_knn_credence

EXTREMES = {torch.float32: (-100, -70, 70, 100), torch.float64: (-980, -600, 600, 980)}
CASES = [(dtype, power) for dtype, powers in EXTREMES.items() for power in powers]


def rows(count: int = 60, dim: int = 6, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(3, dim, generator=generator, dtype=dtype)
    return centres[torch.arange(count) % 3] + torch.randn(count, dim, generator=generator, dtype=dtype)


@pytest.mark.parametrize(("dtype", "power"), CASES)
def test_unit_rows_of_any_magnitude_are_the_same_bits(dtype: torch.dtype, power: int) -> None:
    x = rows(dtype=dtype)
    expected = x.numpy() / np.linalg.norm(x.double().numpy(), axis=1, keepdims=True)
    torch.testing.assert_close(unit_rows(x).double().numpy(), expected.astype(np.float64), rtol=1e-6, atol=0)
    assert torch.equal(unit_rows(x * 2.0**power), unit_rows(x))
    assert torch.equal(unit_rows(x), torch.nn.functional.normalize(x, dim=1))  # as ordinary rows always were


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_of_the_range_have_directions_and_zeros_stay(dtype: torch.dtype) -> None:
    most, least = torch.finfo(dtype).max, torch.finfo(dtype).tiny
    x = torch.tensor([[most, most], [least, -least], [-most, 0.0], [0.0, 0.0]], dtype=dtype)
    half = 0.5**0.5
    expected = torch.tensor([[half, half], [half, -half], [-1.0, 0.0], [0.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(unit_rows(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scales_are_powers_of_two_that_bring_every_row_near_one(dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    x = torch.tensor([1.0, 1.5, 2.0, -7.0, 0.0, info.max, -info.max, info.tiny, info.tiny / 4], dtype=dtype)[:, None]
    scale = binary_scale(x)
    mantissa, _ = torch.frexp(scale)
    assert (mantissa == 0.5).all()
    scaled = (x * scale).abs().flatten()
    assert ((scaled[:4] >= 1) & (scaled[:4] < 2)).all()
    assert (scaled[5:7] < 4).all()
    assert scaled[7] == 1
    assert scale[4] == 1
    assert scale[8] == 1


def test_ordinary_rows_are_not_even_copied() -> None:
    x = rows()
    for tame in (x, x.float(), x.half(), x * 0, x[:0]):
        assert tame_rows(tame) is tame
    assert tame_rows(x * 1e200) is not x


QUERY, LABELS = rows(40, seed=1), torch.arange(60) % 3
DIRECTIONAL: dict[str, Callable[[Tensor, Tensor], object]] = {
    "effective_dimension": lambda x, q: functional.effective_dimension(x),
    "feature_correlation": lambda x, q: functional.feature_correlation(x),
    "total_variance": lambda x, q: functional.total_variance(x),
    "mean_cosine": lambda x, q: functional.mean_cosine(x),
    "reconstruction_error": lambda x, q: functional.reconstruction_error(x, q, 0.6),
    "explained_variance": lambda x, q: functional.explained_variance(x),
    "principal_components": lambda x, q: functional.principal_components(x),
    "participation_ratio": lambda x, q: functional.participation_ratio(x),
    "uniformity": lambda x, q: functional.uniformity(x),
    "alignment": lambda x, q: functional.alignment(x[:40], q),
    "neural_collapse": lambda x, q: functional.neural_collapse(x, LABELS, normalize=True),
    "linear_cka": lambda x, q: functional.linear_cka(x[:40], q),
    "neighbours": lambda x, q: functional.neighbours(x, q, 5),
    "own neighbours": lambda x, q: functional.neighbours(x, None, 5),
    "euclidean indices": lambda x, q: functional.neighbours(x, q, 5, "euclidean").indices,
    "knn_accuracy": lambda x, q: functional.knn_accuracy(x, LABELS, q, LABELS[:40], 5),
    "recall_at_k": lambda x, q: functional.recall_at_k(x, LABELS, q, LABELS[:40], (1, 5)),
    "truncation_curve": lambda x, q: functional.truncation_curve(x, LABELS, q, LABELS[:40], (2, 6)),
    "two_nn": lambda x, q: functional.two_nn(x),
    "local_intrinsic_dimension": lambda x, q: functional.local_intrinsic_dimension(x, 5),
    "soft k-NN": lambda x, q: soft_knn_credence(x, LABELS),
    "soft k-NN of a bank": lambda x, q: soft_knn_credence(x, LABELS, bank=q, bank_labels=LABELS[:40]),
}


def tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for part in value.values() for tensor in tensors(part)]
    if isinstance(value, tuple):
        return [tensor for part in value for tensor in tensors(part)]
    return [torch.as_tensor(value)]


@pytest.mark.parametrize("name", DIRECTIONAL)
@pytest.mark.parametrize(("dtype", "power"), [(torch.float32, 100), (torch.float64, -700), (torch.float64, 700)])
def test_what_depends_on_directions_ignores_the_magnitude(name: str, dtype: torch.dtype, power: int) -> None:
    x, query = rows().to(dtype), QUERY.to(dtype)
    measure = DIRECTIONAL[name]
    expected, found = measure(x, query), measure(x * 2.0**power, query * 2.0**power)
    assert all(torch.equal(a, b) for a, b in zip(tensors(expected), tensors(found), strict=True))
    assert all(tensor.isfinite().all() for tensor in tensors(found) if tensor.is_floating_point())


@pytest.mark.parametrize("power", [-700, 700])
def test_euclidean_distances_of_any_magnitude(power: int) -> None:
    x = rows()
    expected = functional.neighbours(x, QUERY, 5, "euclidean").distances
    found = functional.neighbours(x * 2.0**power, QUERY * 2.0**power, 5, "euclidean").distances
    assert torch.equal(found, expected * 2.0**power)


def test_queries_of_another_magnitude_than_the_gallery_find_the_same_rows() -> None:
    x = rows()
    expected = functional.neighbours(x, QUERY, 5)
    for gallery, query in ((1e200, 1.0), (1.0, 1e-200), (1e-200, 1e200)):
        found = functional.neighbours(x * gallery, QUERY * query, 5)
        torch.testing.assert_close(found.indices, expected.indices, rtol=0, atol=0)


def test_rows_of_zeros_among_huge_ones_have_cosine_zero() -> None:
    gallery = torch.tensor([[1e200, 0.0], [0.0, 0.0], [0.0, -1e-200]], dtype=torch.float64)
    found = functional.neighbours(gallery, gallery[:1], 3)
    torch.testing.assert_close(found.distances, torch.tensor([[0.0, 1.0, 1.0]], dtype=torch.float64))


def neural_collapse(x: Tensor, normalize: bool) -> Tensor:
    return functional.neural_collapse(x, LABELS, normalize).nc1


@pytest.mark.parametrize(
    "measure", [functional.participation_ratio, functional.effective_dimension, functional.stable_rank, neural_collapse]
)
def test_squares_that_vanish_are_not_called_equal_rows(measure: Callable[..., Tensor]) -> None:
    with pytest.warns(functional.DegenerateSampleWarning, match=r"squares vanish in float64 \(rescale"):
        assert measure(rows() * 1e-200, normalize=False).isnan()
    with pytest.warns(functional.DegenerateSampleWarning, match=r"overflow float64 \(rescale the embeddings\)"):
        assert measure(rows() * 1e200, normalize=False).isnan()
