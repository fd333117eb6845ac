# SPDX-License-Identifier: Apache-2.0
"""Measure all variance in units of the largest direction."""

from __future__ import annotations

from torch import Tensor

from lightning_monocon.functional.moments import Moments, moments
from lightning_monocon.functional.spectrum import squared_singular_values


def stable_rank_from_moments(statistics: Moments, centred: bool) -> Tensor:
    """Return the sum of the squared singular values over the largest."""
    squares = squared_singular_values(statistics, centred)
    return squares.sum() / squares[0]


def stable_rank(embeddings: Tensor, centred: bool = True, normalize: bool = True) -> Tensor:
    r"""Return :math:`\|X\|_F^2 / \|X\|_2^2 = \sum_i s_i^2 / s_1^2`, 0-d float64, between 1 and D.

    Rudelson & Vershynin (2007). Blind to everything below the largest direction's scale.

    ``centred`` subtracts the mean first; the other arguments and the errors are those of `moments`.

    Example:
        >>> import torch
        >>> stable_rank(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), normalize=False)
        tensor(1.2500, dtype=torch.float64)
    """
    return stable_rank_from_moments(moments(embeddings, normalize), centred)
