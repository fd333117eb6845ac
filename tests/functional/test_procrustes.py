# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor
from torch.nn.functional import normalize, pad

from lightning_monocon.functional.procrustes import procrustes


def two_spaces(width: int, target: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(width)
    rows = torch.randn(60, width, dtype=torch.float64)
    return rows, rows @ torch.randn(width, target, dtype=torch.float64) + torch.randn(60, target, dtype=torch.float64)


@pytest.mark.parametrize(("width", "target"), [(5, 5), (7, 4), (4, 7)])
def test_the_map_is_that_of_scipy(width: int, target: int) -> None:
    rows, wanted = two_spaces(width, target)
    most = max(width, target)  # SciPy takes spaces of one width: zeros add nothing to an inner product
    sides = [pad(normalize(part), (0, most - part.shape[1])).numpy() for part in (rows, wanted)]
    truth = torch.from_numpy(orthogonal_procrustes(*sides)[0])[:width, :target]
    found = procrustes(rows, wanted)
    aligned = [float((normalize(rows) @ each * normalize(wanted)).sum()) for each in (found, truth)]
    assert aligned[0] == pytest.approx(aligned[1])
    if width == target:
        torch.testing.assert_close(found, truth)
    thin = found.T @ found if width >= target else found @ found.T
    torch.testing.assert_close(thin, torch.eye(len(thin), dtype=torch.float64))


def test_a_turned_space_is_turned_back_and_lengths_do_not_matter() -> None:
    rows, _ = two_spaces(6, 6)
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    found = procrustes((rows @ turn * torch.rand(60, 1)).float(), rows)
    torch.testing.assert_close(found, turn.T, rtol=0, atol=1e-5)


def test_rows_of_other_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`rows` and `target` must be two embeddings .* got \(3, 2\) and \(4, 2\)"):
        procrustes(torch.ones(3, 2), torch.ones(4, 2))
