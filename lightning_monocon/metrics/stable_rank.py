# SPDX-License-Identifier: Apache-2.0
"""The stable rank as a metric; the arithmetic is :func:`lightning_monocon.functional.stable_rank`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.stable_rank import stable_rank_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class StableRank(SpectrumOfOneRole):
    r"""Stable rank :math:`\sum_i s_i^2 / s_1^2` of the rows, between 1 and D (Rudelson & Vershynin 2007).

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN and one warning below two rows or without variance.

    Args:
        centred: Subtract the mean first.
        kwargs: ``normalize``, ``nan_strategy``, ``role``, ``small_sample``, ``groups``: see
            :class:`~lightning_monocon.metrics.spectral.SpectrumOfOneRole`; and those of :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = StableRank(normalize=False, small_sample="ignore")
        >>> metric.update(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        >>> metric.compute()
        tensor(1.2500)
    """

    def __init__(self, centred: bool = True, normalize: bool = True, **kwargs: Unpack[SpectrumOptions]) -> None:
        super().__init__(normalize, **kwargs)
        self.centred = centred

    def value(self, statistics: Moments) -> Tensor:
        """Return the value of given statistics, 0-d float64."""
        return stable_rank_from_moments(statistics, self.centred)
