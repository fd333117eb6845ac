# SPDX-License-Identifier: Apache-2.0
"""Total variance as a metric; the arithmetic is :func:`lightning_monocon.functional.total_variance`."""

from __future__ import annotations

from torch import Tensor

from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.total_variance import total_variance_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole


class TotalVariance(SpectrumOfOneRole):
    r"""The trace of the covariance, :math:`\frac{1}{N-1}\sum_i |x_i - m|^2`: how much the embeddings spread at all.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN and one warning below two rows, 0 for equal rows.

    Args:
        kwargs: ``normalize``, ``nan_strategy``, ``role``: see
            :class:`~lightning_monocon.metrics.spectral.SpectrumOfOneRole`; and those of :class:`torchmetrics.Metric`.

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
