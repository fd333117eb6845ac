# SPDX-License-Identifier: Apache-2.0
"""Test the codec: codes and scores of a fitted space and quantiser."""

from __future__ import annotations

import numpy as np
import torch

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families.transform import fit_transform


def _rows(count: int, seed: int) -> torch.Tensor:
    spread = torch.diag(torch.linspace(2.0, 0.05, 32))
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed)) @ spread + 0.3


def test_arrays_and_tensors_get_the_same_codes_and_scores_in_kind() -> None:
    rows, queries = _rows(500, 0), _rows(20, 1)
    codec = fit_transform(FittingRows.of(rows), 8)
    codes = codec.encode(rows)
    assert codes.shape == (500, codec.bytes_per_vector) == (500, 8)
    assert codes.dtype == torch.uint8
    np.testing.assert_array_equal(codec.encode(rows.numpy()), codes.numpy())
    scores = codec.score(queries.numpy(), codes.numpy())
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, codec.score(queries, codes).numpy())


def test_more_bytes_estimate_the_cosine_of_the_original_vectors_better() -> None:
    rows, queries = _rows(2000, 0), _rows(50, 1)
    cosine = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(rows).T
    errors = []
    for size in (4, 8, 16, 32):
        codec = fit_transform(FittingRows.of(rows), size)
        errors.append(float((codec.score(queries, codec.encode(rows)) - cosine).pow(2).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4
