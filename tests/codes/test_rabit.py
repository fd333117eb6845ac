# SPDX-License-Identifier: Apache-2.0
"""Test the directions of RaBitQ against an exhaustive sweep, and its estimates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_monocon.codes.rabit import RabitQuantiser


def _rows(count: int = 60, width: int = 32) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _best_cosine(row: np.ndarray, bits: int) -> float:
    """Return the largest cosine of a row and a grid of any size: one size between each two where a number changes."""
    most = 2**bits - 1
    changes = np.sort((2 * np.arange(1, 2 ** (bits - 1)) / np.abs(row)[:, None]).ravel())
    sizes = np.concatenate([[changes[0] / 2], (changes[1:] + changes[:-1]) / 2, [changes[-1] * 2]])
    odd = np.clip(np.floor(np.abs(row) * sizes[:, None] / 2) * 2 + 1, 1, most)
    return float(((odd @ np.abs(row)) / np.linalg.norm(odd, axis=1)).max() / np.linalg.norm(row))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_directions_are_the_best_of_all(bits: int) -> None:
    rows, quantiser = _rows(), RabitQuantiser(32, bits)
    decoded = quantiser.decode(quantiser.encode(rows)).double()
    found = torch.cosine_similarity(decoded, rows).numpy()
    best = np.array([_best_cosine(row, bits) for row in rows.numpy()])
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_row_is_estimated_exactly_against_itself(bits: int) -> None:
    rows, quantiser = _rows(), RabitQuantiser(32, bits)
    codes = quantiser.encode(rows)
    assert codes.shape == (60, quantiser.bytes) == (60, 4 * bits + 4)
    decoded = quantiser.decode(codes).double()
    torch.testing.assert_close((decoded * rows).sum(1), rows.square().sum(1), rtol=1e-6, atol=0)


def test_one_bit_is_the_sign_and_the_factor_stands_last() -> None:
    row = torch.tensor([[3.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0, 1.0, 2.0]])
    codes = RabitQuantiser(9, 1).encode(row)
    assert codes[0, :2].tolist() == [0b10100001, 0b10000000]
    assert codes[0, 2:].numpy().view("<f4").tolist() == pytest.approx([20 / 12])


def test_a_row_of_zeros_decodes_to_zeros() -> None:
    quantiser = RabitQuantiser(8, 3)
    assert not quantiser.decode(quantiser.encode(torch.zeros(2, 8))).any()


def test_one_bit_codes_have_the_directions_of_faiss() -> None:
    faiss = pytest.importorskip("faiss", reason="needs the extra search")
    rows = _rows().float()
    rows -= rows.mean(0)
    own = faiss.RaBitQuantizer(32)
    own.train(rows.numpy())
    theirs = torch.from_numpy(own.decode(own.compute_codes(rows.numpy())))
    quantiser = RabitQuantiser(32, 1)
    ours = quantiser.decode(quantiser.encode(rows))
    assert torch.cosine_similarity(ours, theirs).min() > 1 - 1e-5
