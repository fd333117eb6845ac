# SPDX-License-Identifier: Apache-2.0
"""Measure how many directions share the variance."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.moments import Moments, covariance, moments


def participation_ratio_from_moments(statistics: Moments) -> Tensor:
    """Return the participation ratio from traces, without an eigendecomposition."""
    matrix = covariance(statistics)
    if matrix is None:
        return statistics.mean.new_tensor(torch.nan)
    return matrix.trace().square() / matrix.square().sum()


def participation_ratio(embeddings: Tensor, normalize: bool = True) -> Tensor:
    r"""Return :math:`(\sum\lambda)^2 / \sum\lambda^2` of the centred covariance, 0-d float64, between 1 and D.

    Arguments and errors are those of `moments`.

    Example:
        >>> participation_ratio(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        tensor(2., dtype=torch.float64)
    """
    return participation_ratio_from_moments(moments(embeddings, normalize))
