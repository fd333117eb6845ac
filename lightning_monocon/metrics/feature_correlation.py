# SPDX-License-Identifier: Apache-2.0
"""Measure feature correlation as a metric; see `lightning_monocon.functional.feature_correlation`."""

from __future__ import annotations

from torch import Tensor

from lightning_monocon.functional.feature_correlation import feature_correlation_from_moments
from lightning_monocon.functional.moments import Moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole


class FeatureCorrelation(SpectrumOfOneRole):
    r"""Compute the root mean square off-diagonal entry of the feature correlation matrix (MonoCon: disentanglement).

    .. math::
        \sqrt{\frac{1}{d(d-1)}\sum_{i\ne j}\rho_{ij}^2}

    over the d features that vary; constant features are left out and counted. It *grows* as an embedding compacts.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns ``{"feature_correlation", "constant_features"}``, 0-d float32 tensors; NaN, with
    one warning, if fewer than two features vary.

    The arguments are those of `SpectrumOfOneRole`.

    Example:
        >>> import torch
        >>> metric = FeatureCorrelation(normalize=False, small_sample="ignore")
        >>> metric.update(torch.tensor([[0.0, 0.0, 5.0], [1.0, 2.0, 5.0], [2.0, 4.0, 5.0]]))
        >>> metric.compute()
        {'feature_correlation': tensor(1.), 'constant_features': tensor(1.)}
    """

    higher_is_better = False

    def value(self, statistics: Moments) -> Tensor:
        """Return the root mean square correlation of given statistics, 0-d float64."""
        return feature_correlation_from_moments(statistics).rms

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"feature_correlation", "constant_features"}``, 0-d float32 tensors."""
        rms, constant = feature_correlation_from_moments(self.described())
        return {"feature_correlation": self.result(rms), "constant_features": self.result(constant)}
