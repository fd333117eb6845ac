# SPDX-License-Identifier: Apache-2.0
"""Measure the participation ratio as a metric; see `lightning_monocon.functional.participation_ratio`."""

from __future__ import annotations

from torch import Tensor

from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.participation_ratio import participation_ratio_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole


class ParticipationRatio(SpectrumOfOneRole):
    r"""Compute the effective rank :math:`(\sum\lambda)^2 / \sum\lambda^2` of the centred covariance, between 1 and D.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, for fewer than two rows or no
    variance.

    The arguments are those of `SpectrumOfOneRole`.

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
