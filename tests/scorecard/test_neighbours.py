# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from lightning_monocon.scorecard import neighbours
from lightning_monocon.scorecard.neighbours import nearest_along


def rows(count: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 1000, 1 << 20], ids=lambda b: f"block={b}")
def test_every_prefix_finds_what_scikit_learn_finds(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_NUMBERS", block)
    gallery, query, dims = rows(97, 13, 0), rows(31, 13, 1), (2, 3, 7, 13)
    found = nearest_along(gallery, query, dims, 6)
    for line, k in zip(found, dims, strict=True):
        oracle = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(gallery[:, :k].numpy())
        expected = oracle.kneighbors(query[:, :k].numpy(), return_distance=False)
        np.testing.assert_array_equal(line.numpy(), expected)


def test_rows_without_length_rank_as_orthogonal() -> None:
    gallery = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    found = nearest_along(gallery, torch.tensor([[2.0, 0.0]]), (2,), 3)
    assert found.tolist() == [[[1, 0, 2]]]
