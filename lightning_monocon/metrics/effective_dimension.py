# SPDX-License-Identifier: Apache-2.0
"""Measure the effective dimension as a metric; see `lightning_monocon.functional.effective_dimension`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_variance
from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.spectrum import variances_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class EffectiveDimension(SpectrumOfOneRole):
    r"""Count the principal components that explain the share ``variance`` (MonoCon: compactness).

    .. math::
        k = \min\Bigl\{k : \sum_{i\le k}\lambda_i \ge v \sum_i \lambda_i\Bigr\}

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, for fewer than two rows or no
    variance.

    It grows with the sample, and a collapsed embedding scores best: report it with the number of rows, an accuracy and
    the baseline.

    Args:
        variance: The share to explain, in (0, 1].
        normalize: Divide every row by its length first.
        kwargs: Those of `SpectrumOptions` and of `torchmetrics.Metric`.

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
