# SPDX-License-Identifier: Apache-2.0
"""Measure how much an embedding spreads at all."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.moments import Moments, moments


def total_variance_from_moments(statistics: Moments) -> Tensor:
    """Return the trace of the covariance; NaN, with one warning, for fewer than two rows."""
    if statistics.rows < 2:
        warn_degenerate(f"A variance needs at least 2 rows, got {int(statistics.rows)}")
        return statistics.mean.new_tensor(torch.nan)
    return statistics.comoment.trace() / (statistics.rows - 1.0)


def total_variance(embeddings: Tensor, normalize: bool = True) -> Tensor:
    r"""Return the trace of the covariance, :math:`\frac{1}{N-1}\sum_i |x_i - m|^2`, 0-d float64.

    On unit rows it lies between 0 (all rows equal) and N / (N - 1) (mean zero). Rows that are all equal give 0, not
    NaN: that is an answer.

    Arguments and errors are those of `moments`.

    Example:
        >>> total_variance(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), normalize=False)
        tensor(2., dtype=torch.float64)
    """
    return total_variance_from_moments(moments(embeddings, normalize))
