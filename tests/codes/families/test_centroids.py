# SPDX-License-Identifier: Apache-2.0
"""The joint refit of sums of centroids against SciPy's damped least squares."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import lsqr

from lightning_monocon.codes.families.centroids import fit_stages, refitted
from lightning_monocon.codes.product import Search


def test_a_refit_solves_least_squares_around_the_centroids_it_got() -> None:
    generator = torch.Generator().manual_seed(0)
    table, rows = torch.randn(2, 256, 3, generator=generator), torch.randn(900, 3, generator=generator)
    codes = (Search.of(table, 8, torch.float32)(rows)[0] + 256 * torch.arange(2)).numpy()
    used = csr_array(([1.0] * codes.size, codes.ravel(), range(0, codes.size + 1, 2)), (900, 512))
    left = rows.double().numpy() - used @ table.flatten(0, 1).double().numpy()
    moves = [lsqr(used, left[:, column], damp=10**0.5, atol=1e-12, btol=1e-12)[0] for column in range(3)]
    expected = table.flatten(0, 1).double() + torch.from_numpy(np.stack(moves, 1))
    torch.testing.assert_close(refitted(table, rows).flatten(0, 1).double(), expected, atol=1e-6, rtol=1e-6)


def test_sums_of_two_centroids_are_nearer_than_one() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, fresh = torch.randn(3000, 6, generator=generator), torch.randn(300, 6, generator=generator)
    errors = []
    for stages in (1, 2):
        table = fit_stages(rows, stages, generator)
        codes, _ = Search.of(table, 4, torch.float64)(fresh.double())
        errors.append((fresh - table[torch.arange(stages), codes].sum(1)).square().mean())
    assert errors[1] < errors[0] / 3
