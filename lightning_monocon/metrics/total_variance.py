# SPDX-License-Identifier: Apache-2.0
"""Measure the total variance as a metric; see `lightning_monocon.functional.total_variance`."""

from __future__ import annotations

from torch import Tensor

from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.total_variance import total_variance_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole


class TotalVariance(SpectrumOfOneRole):
    r"""Compute the trace of the covariance, :math:`\frac{1}{N-1}\sum_i |x_i - m|^2`: how much embeddings spread.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, for fewer than two rows, 0 for
    equal rows.

    The arguments are those of `SpectrumOfOneRole`.

    Example:
        >>> import torch
        >>> metric = TotalVariance(normalize=False)
        >>> metric.update(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        >>> metric.compute()
        tensor(2.)
    """

    higher_is_better = True
    biased_by_small_samples = False

    def value(self, statistics: Moments) -> Tensor:
        """Return the total variance of given statistics, 0-d float64."""
        return total_variance_from_moments(statistics)
