# SPDX-License-Identifier: Apache-2.0
"""The participation ratio as a metric; the arithmetic is :func:`lightning_monocon.functional.participation_ratio`."""

from __future__ import annotations

from torch import Tensor

from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.participation_ratio import participation_ratio_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole


class ParticipationRatio(SpectrumOfOneRole):
    r"""Effective rank :math:`(\sum\lambda)^2 / \sum\lambda^2` of the centred covariance, between 1 and D.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN and one warning below two rows or without variance.

    Args:
        kwargs: ``normalize``, ``nan_strategy``, ``role``, ``small_sample``, ``groups``: see
            :class:`~lightning_monocon.metrics.spectral.SpectrumOfOneRole`; and those of :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = ParticipationRatio(small_sample="ignore")
        >>> metric.update(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        >>> metric.compute()
        tensor(2.)
    """

    def value(self, statistics: Moments) -> Tensor:
        """Return the value of given statistics, 0-d float64."""
        return participation_ratio_from_moments(statistics)
