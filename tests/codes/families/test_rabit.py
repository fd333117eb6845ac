# SPDX-License-Identifier: Apache-2.0
"""Test that RaBitQ keeps to its bytes, follows its seed and refuses what it cannot do."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families import fit_rabit


def _rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(seed)) * 0.85 ** torch.arange(24) + 0.3


def test_more_bits_and_bytes_come_nearer_to_the_whole_scores() -> None:
    rows, fresh = FittingRows.of(_rows(500)), _rows(300, 1)
    whole = normalize(fresh[:40]) @ normalize(fresh).T
    errors = []
    for size, bits in ((6, 1), (7, 1), (10, 2), (16, 4), (28, 8)):
        codec = fit_rabit(rows, size, bits)
        codes = codec.encode(fresh)
        assert codes.shape[1] == codec.bytes_per_vector == size
        errors.append(float((codec.score(fresh[:40], codes) - whole).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5


def test_a_code_takes_no_bytes_for_what_does_not_vary() -> None:
    rows = torch.cat([_rows(500)[:, :8], torch.zeros(500, 16)], 1)
    codec = fit_rabit(FittingRows.of(rows, "dot"), 28, 8)
    assert codec.name == "rabit8-12"
    assert codec.bytes_per_vector == 12


def test_a_seed_decides_the_rotation() -> None:
    first, again, other = (fit_rabit(FittingRows.of(_rows(300), seed=seed), 8).space.matrix for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_impossible_fits_are_refused() -> None:
    rows = FittingRows.of(_rows(300))
    with pytest.raises(ValueError, match=r"`bits` must be from 1 to 8; got 9\."):
        fit_rabit(rows, 16, 9)
    with pytest.raises(ValueError, match=r"`size` must be at least 5 bytes, as the factor takes 4; got 4\."):
        fit_rabit(rows, 4)
    with pytest.raises(ValueError, match=r"`rows` must hold two different rows"):
        fit_rabit(FittingRows.of(torch.ones(300, 8), "dot"), 8)
