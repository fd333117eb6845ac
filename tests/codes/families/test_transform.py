# SPDX-License-Identifier: Apache-2.0
"""Test the transform code's bits and levels against exhaustive search and k-means."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from sklearn.cluster import KMeans

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families.transform import allocate_bits, fit_transform, lloyd_max


def test_bits_are_those_of_least_distortion() -> None:
    variances = torch.tensor([5.0, 1.7, 0.6, 0.11], dtype=torch.float64)
    for total in range(1, 9):
        every = [torch.tensor(bits) for bits in product(range(9), repeat=4) if sum(bits) == total]
        least = min(float((variances / 4.0**bits).sum()) for bits in every)
        assert float((variances / 4.0 ** allocate_bits(variances, total)).sum()) == least


def test_levels_leave_the_error_of_k_means() -> None:
    column = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = lloyd_max(column, torch.tensor([2]))
    error = float((column - levels.double()).abs().min(1).values.square().sum())
    assert error < 1.01 * KMeans(4, n_init=5, random_state=0).fit(column.numpy()).inertia_


def test_a_code_stores_no_bits_that_tell_nothing() -> None:
    flat = torch.zeros(500, 6)
    flat[:, :2] = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    codec = fit_transform(FittingRows.of(flat, "dot"), 10)
    assert codec.bytes_per_vector == 2
    assert codec.quantiser.tensors()["bits"].tolist() == [8, 8]


def test_levels_are_those_of_lloyd_rounds_of_each_column_alone() -> None:
    rows = torch.randn(400, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * torch.arange(1, 6)
    rows[:, 4] = rows[:, 4].round()  # equal numbers leave cells empty
    bits = torch.tensor([3, 1, 3, 2, 5])
    found = lloyd_max(rows, bits)
    for column, own, levels in zip(rows.T.numpy(), bits.tolist(), found.double().numpy(), strict=True):
        values = np.sort(column)
        expected = values[((np.arange(2**own) + 0.5) / 2**own * len(values)).astype(int)]
        for _ in range(50):
            cell = np.searchsorted((expected[1:] + expected[:-1]) / 2, values, side="left")
            expected = np.array([values[cell == j].mean() if (cell == j).any() else expected[j] for j in range(2**own)])
        np.testing.assert_allclose(levels[: 2**own], expected, atol=1e-6)
        assert not levels[2**own :].any()
