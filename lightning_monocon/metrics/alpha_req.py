# SPDX-License-Identifier: Apache-2.0
"""Measure alpha-ReQ as a metric; see `lightning_monocon.functional.alpha_req`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.alpha_req import alpha_from_moments, check_range
from lightning_monocon.functional.moments import Moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class AlphaReQ(SpectrumOfOneRole):
    r"""Fit the exponent :math:`\alpha` of a power law :math:`\lambda_i \propto i^{-\alpha}` of the variances.

    A line through :math:`(\log i, \log\lambda_i)` with weights 1/i over the components ``first`` to ``last``
    (Agrawal et al., NeurIPS 2022). The value depends on the range of components; report it with the result.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, for fewer than two positive
    variances.

    Args:
        first: The first component of the fit, counted from 1.
        last: The last one; None for all.
        normalize: Divide every row by its length first.
        kwargs: Those of `SpectrumOptions` and of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> rows = torch.diag(torch.arange(1.0, 5.0).pow(-0.75))
        >>> metric = AlphaReQ(small_sample="ignore")
        >>> metric.update(torch.cat([rows, -rows]))
        >>> metric.compute()
        tensor(1.5000)
    """

    def __init__(
        self, first: int = 1, last: int | None = None, normalize: bool = False, **kwargs: Unpack[SpectrumOptions]
    ) -> None:
        check_range(first, last)
        super().__init__(normalize=normalize, **kwargs)
        self.first, self.last = first, last

    def value(self, statistics: Moments) -> Tensor:
        """Return the value of given statistics, 0-d float64."""
        return alpha_from_moments(statistics, self.first, self.last)
