# SPDX-License-Identifier: Apache-2.0
"""Measure the bits that embeddings need as a metric; see `lightning_monocon.functional.rate_distortion`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.rate_distortion import gaussian_rate
from lightning_monocon.functional.spectrum import variances_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class RateDistortion(SpectrumOfOneRole):
    r"""Compute the bits per vector that leave the share ``fvu`` of the variance unexplained: compactness in bits.

    .. math::
        R = \sum_i \max\bigl(0, \tfrac12 \log_2 \tfrac{\lambda_i}{\theta}\bigr),\qquad
        \sum_i \min(\theta, \lambda_i) = \mathrm{fvu} \sum_i \lambda_i

    with :math:`\lambda` the eigenvalues of the centred covariance: the fewest bits of any code of Gaussian vectors
    with that covariance. `EffectiveDimension` counts components at the same error, as if each cost the same; here a
    component costs what its variance asks.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, for fewer than two rows or no
    variance.

    A collapsed embedding scores best: report it with an accuracy and the baseline.

    Args:
        fvu: Share of the variance that may stay unexplained, in (0, 1].
        normalize: Divide every row by its length first.
        kwargs: Those of `SpectrumOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``fvu`` is outside (0, 1] or another argument is unknown.

    Example:
        >>> import torch
        >>> metric = RateDistortion(fvu=0.4, normalize=False, small_sample="ignore")
        >>> metric.update(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        >>> metric.compute()  # variances 4 : 1, level 1: one bit, none
        tensor(1.)
    """

    higher_is_better = False

    def __init__(self, fvu: float = 0.01, normalize: bool = True, **kwargs: Unpack[SpectrumOptions]) -> None:
        if not 0.0 < fvu <= 1.0:
            raise ValueError(f"`fvu` must lie in (0, 1], a share of the total variance; got {fvu!r}.")
        super().__init__(normalize, **kwargs)
        self.fvu = fvu

    def value(self, statistics: Moments) -> Tensor:
        """Return the bits of given statistics, 0-d float64."""
        variances = variances_from_moments(statistics)
        return gaussian_rate(variances, self.fvu * variances.sum())
