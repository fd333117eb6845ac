# SPDX-License-Identifier: Apache-2.0
"""Measure the mean cosine as a metric; see `lightning_monocon.functional.mean_cosine`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.mean_cosine import mean_cosine_from_moments
from lightning_monocon.functional.moments import Moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class MeanCosine(SpectrumOfOneRole):
    r"""Average the cosine of all pairs of different rows: near 1 for a narrow cone, near 0 for a spread embedding.

    .. math::
        \frac{1}{N(N-1)}\sum_{i\ne j}\frac{x_i\cdot x_j}{|x_i|\,|x_j|}

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor in [-1, 1]; NaN, with one warning, for fewer than two rows.

    Args:
        normalize: Must be True, since a cosine is taken between unit rows.
        kwargs: Those of `SpectrumOptions` and of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = MeanCosine()
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]))
        >>> metric.compute()
        tensor(0.3333)
    """

    higher_is_better = False
    biased_by_small_samples = False
    centred = False

    def __init__(self, *, normalize: bool = True, **kwargs: Unpack[SpectrumOptions]) -> None:
        if not normalize:
            raise ValueError("`normalize` must be True: a cosine is taken between unit rows.")
        super().__init__(normalize=True, **kwargs)

    def value(self, statistics: Moments) -> Tensor:
        """Return the mean cosine of given statistics, 0-d float64."""
        return mean_cosine_from_moments(statistics)
