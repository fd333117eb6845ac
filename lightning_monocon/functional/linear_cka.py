# SPDX-License-Identifier: Apache-2.0
"""Compare two embeddings of the same inputs by linear CKA, with the unbiased estimator of HSIC."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, finite_rows, warn_degenerate
from lightning_monocon.functional.moments import statistics_device
from lightning_monocon.functional.unit_rows import binary_scale


def _centred(rows: Tensor, name: str) -> Tensor:
    rows = check_embeddings(rows, name)
    finite_rows(rows, "error", name)
    wide = rows.to(statistics_device(rows.device)).to(torch.float64)
    if not len(wide):
        return wide
    # fourth powers follow, and a power of two changes no digit of the ratio
    wide = wide * binary_scale(wide.reshape(1, -1))
    return wide - wide.mean(dim=0)


def _hsic(x: Tensor, y: Tensor) -> Tensor:
    """Return the unbiased HSIC of linear kernels, up to the factor 1 / (n (n - 3)), without an n x n matrix.

    Song et al. (2012), eq. 5, with the diagonals of K = X X^T and L = Y Y^T removed.
    """
    n = len(x)
    own_x, own_y = x.square().sum(dim=1), y.square().sum(dim=1)  # the diagonals
    row_x, row_y = x @ x.sum(dim=0) - own_x, y @ y.sum(dim=0) - own_y  # row sums without the diagonal
    trace = (x.T @ y).square().sum() - (own_x * own_y).sum()
    return trace + row_x.sum() * row_y.sum() / ((n - 1) * (n - 2)) - 2.0 / (n - 2) * (row_x * row_y).sum()


def linear_cka(first: Tensor, second: Tensor) -> Tensor:
    r"""Return the linear centred kernel alignment of two embeddings, 0-d float64, at most 1.

    .. math::
        \frac{\mathrm{HSIC}_1(K, L)}{\sqrt{\mathrm{HSIC}_1(K, K)\,\mathrm{HSIC}_1(L, L)}}

    with :math:`K = XX^\top`, :math:`L = YY^\top` and the unbiased :math:`\mathrm{HSIC}_1` of Song et al. (2012), as
    Nguyen et al. (ICLR 2021) use it: independent embeddings give 0 on average whatever N and D, where the biased
    estimator of Kornblith et al. (2019) nears 1 for N < D. Invariant to rotation, translation and isotropic scale of
    either side. Can be slightly negative.

    Args:
        first: ``(N, D1)``, any floating dtype, at least 4 rows.
        second: ``(N, D2)``, of the same inputs in the same order.

    Raises:
        TypeError: If an input is not a floating-point tensor.
        ValueError: If a shape is wrong, the numbers of rows differ, or a row is not finite.

    Example:
        >>> rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> linear_cka(rows, 2.0 * rows.flip(1) + 1.0)
        tensor(1., dtype=torch.float64)
    """
    x, y = _centred(first, "first"), _centred(second, "second")
    if len(x) != len(y):
        raise ValueError(f"`second` must have {len(x)} rows, the same inputs as `first`; got {len(y)}.")
    nan = x.new_tensor(torch.nan)
    if len(x) < 4:
        warn_degenerate(f"An unbiased CKA needs at least 4 rows, got {len(x)}")
        return nan
    norm_x, norm_y = _hsic(x, x), _hsic(y, y)
    if not (norm_x > 0 and norm_y > 0):
        warn_degenerate("One of the embeddings does not vary")
        return nan
    return _hsic(x, y) / (norm_x * norm_y).sqrt()
