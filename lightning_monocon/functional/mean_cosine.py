# SPDX-License-Identifier: Apache-2.0
"""Measure how narrow the cone is that holds the embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.moments import Moments, moments


def mean_cosine_from_moments(statistics: Moments) -> Tensor:
    """Return the mean cosine of different rows from moments of unit rows; NaN, with one warning, below two rows."""
    count, mean, comoment = statistics
    if count < 2:
        warn_degenerate(f"A mean cosine of pairs needs at least 2 rows, got {int(count)}")
        return mean.new_tensor(torch.nan)
    # sum_{i != j} u_i.u_j = |n m|^2 - sum_i |u_i|^2, and sum_i |u_i|^2 = tr C + n |m|^2
    return mean.square().sum() - comoment.trace() / (count * (count - 1.0))


def mean_cosine(embeddings: Tensor) -> Tensor:
    r"""Return the mean cosine over all pairs of different rows, 0-d float64, in [-1, 1].

    .. math::
        \frac{1}{N(N-1)}\sum_{i\ne j}\frac{x_i\cdot x_j}{|x_i|\,|x_j|}

    Near 0 for embeddings spread over the sphere, near 1 for a narrow cone. A row of zeros has cosine 0 with all.

    ``embeddings`` and the errors are those of `moments`.

    Example:
        >>> mean_cosine(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]))
        tensor(0.3333, dtype=torch.float64)
    """
    return mean_cosine_from_moments(moments(embeddings, normalize=True))
