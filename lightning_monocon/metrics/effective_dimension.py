# SPDX-License-Identifier: Apache-2.0
"""Effective dimension as a metric; the arithmetic is :func:`lightning_monocon.functional.effective_dimension`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_variance
from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.spectrum import variances_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class EffectiveDimension(SpectrumOfOneRole):
    r"""The smallest k whose first k principal components explain the share ``variance`` (MonoCon: compactness).

    .. math::
        k = \min\Bigl\{k : \sum_{i\le k}\lambda_i \ge v \sum_i \lambda_i\Bigr\}

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN and one warning below two rows or without variance.

    It grows with the sample and is won by collapse: report it with the number of rows, an accuracy and the baseline.

    Args:
        variance: The share to explain, in (0, 1].
        kwargs: ``normalize``, ``nan_strategy``, ``role``, ``small_sample``: see
            :class:`~lightning_monocon.metrics.spectral.SpectrumOfOneRole`; and those of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``variance`` is outside (0, 1] or another argument is unknown.

    Example:
        >>> import torch
        >>> metric = EffectiveDimension(small_sample="ignore")
        >>> metric.update(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        >>> metric.compute()
        tensor(2.)
    """

    higher_is_better = False

    def __init__(self, variance: float = 0.99, normalize: bool = True, **kwargs: Unpack[SpectrumOptions]) -> None:
        check_variance(variance)
        super().__init__(normalize, **kwargs)
        self.variance = variance

    def value(self, statistics: Moments) -> Tensor:
        """Return the effective dimension of given statistics, 0-d float64."""
        return components_for(variances_from_moments(statistics), self.variance)
