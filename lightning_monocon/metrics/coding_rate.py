# SPDX-License-Identifier: Apache-2.0
"""Measure the coding rate as a metric; see `lightning_monocon.functional.coding_rate`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.coding_rate import check_eps, coding_rate_from_moments
from lightning_monocon.functional.moments import Moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class CodingRate(SpectrumOfOneRole):
    r"""Compute the coding rate of rows up to an error of length ``eps``, in bits per vector (Yu et al. 2020, MCR2).

    .. math::
        R(Z, \epsilon) = \tfrac12 \log_2\det\Bigl(I + \frac{D}{N\epsilon^2} Z^\top Z\Bigr)

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, for no rows.

    It is large for rows that fill many directions, and falls with collapse; it counts the mean of the rows too.

    Args:
        eps: Length of the error of a vector, positive; 0.5 is a quarter of the squared length of a unit row.
        normalize: Divide every row by its length first.
        kwargs: Those of `SpectrumOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``eps`` is not positive and finite or another argument is unknown.

    Example:
        >>> import torch
        >>> metric = CodingRate(eps=1.0, small_sample="ignore")
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> metric.compute()
        tensor(1.)
    """

    higher_is_better = True
    centred = False

    def __init__(self, eps: float = 0.5, normalize: bool = True, **kwargs: Unpack[SpectrumOptions]) -> None:
        check_eps(eps)
        super().__init__(normalize, **kwargs)
        self.eps = eps

    def value(self, statistics: Moments) -> Tensor:
        """Return the coding rate of given statistics, 0-d float64."""
        return coding_rate_from_moments(statistics, self.eps)
