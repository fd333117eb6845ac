# SPDX-License-Identifier: Apache-2.0
"""Fit a power law to the eigenspectrum (alpha-ReQ)."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.moments import Moments, moments
from lightning_monocon.functional.spectrum import variances_from_moments


def check_range(first: int, last: int | None) -> None:
    """Raise ValueError unless ``1 <= first < last``."""
    if first < 1 or (last is not None and last <= first):
        raise ValueError(f"`first` and `last` must be components with 1 <= first < last; got {first!r} and {last!r}.")


def alpha_from_moments(statistics: Moments, first: int, last: int | None) -> Tensor:
    """Return minus the weighted slope of log variance on log rank, over the positive variances."""
    return alpha_of_variances(variances_from_moments(statistics), first, last)


def alpha_of_variances(variances: Tensor, first: int = 1, last: int | None = None) -> Tensor:
    """Return alpha-ReQ of ``variances`` ``(D,)``, descending; NaN, with a warning, if fewer than two are positive."""
    # Below this an eigenvalue is the rounding of the largest.
    positive = variances > variances[0] * torch.finfo(variances.dtype).eps * len(variances)
    ranks = torch.arange(1, len(variances) + 1, dtype=variances.dtype, device=variances.device)
    chosen = positive & (ranks >= first) & (ranks <= (last or len(variances)))
    if chosen.sum() < 2:
        if not variances.isnan().any():
            warn_degenerate(f"A slope needs at least 2 positive variances, got {int(chosen.sum())}")
        return variances.new_tensor(torch.nan)
    x, y, weight = ranks[chosen].log(), variances[chosen].log(), 1.0 / ranks[chosen]
    x, y = x - (weight * x).sum() / weight.sum(), y - (weight * y).sum() / weight.sum()
    return -(weight * x * y).sum() / (weight * x * x).sum()


def alpha_req(embeddings: Tensor, first: int = 1, last: int | None = None, normalize: bool = False) -> Tensor:
    r"""Return the exponent :math:`\alpha` of :math:`\lambda_i \propto i^{-\alpha}`, 0-d float64.

    A least-squares line through :math:`(\log i, \log\lambda_i)` with weights 1/i, over the components ``first`` to
    ``last`` whose variance is positive: Agrawal et al. (alpha-ReQ, NeurIPS 2022) after Stringer et al. (2019). Near 1
    for embeddings that generalise, larger for collapsed ones. The value depends on the range of components; report it
    with the result.

    Components are counted from 1, and ``last=None`` stands for all; the other arguments and the errors are those of
    `moments`.

    Example:
        >>> rows = torch.diag(torch.arange(1.0, 5.0).pow(-0.75))
        >>> alpha_req(torch.cat([rows, -rows]))
        tensor(1.5000, dtype=torch.float64)
    """
    check_range(first, last)
    return alpha_from_moments(moments(embeddings, normalize), first, last)
