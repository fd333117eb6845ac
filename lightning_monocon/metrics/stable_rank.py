# SPDX-License-Identifier: Apache-2.0
"""Measure the stable rank as a metric; see `lightning_monocon.functional.stable_rank`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.stable_rank import stable_rank_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class StableRank(SpectrumOfOneRole):
    r"""Compute the stable rank :math:`\sum_i s_i^2 / s_1^2` of the rows, between 1 and D (Rudelson & Vershynin 2007).

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, for fewer than two rows or no
    variance.

    Args:
        centred: Subtract the mean first.
        normalize: Divide every row by its length first.
        kwargs: Those of `SpectrumOptions` and of `torchmetrics.Metric`.

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
