# SPDX-License-Identifier: Apache-2.0
"""Measure the entropy effective rank; see `lightning_monocon.functional.spectral_effective_rank`."""

from __future__ import annotations

from typing import get_args

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.spectral_effective_rank import Values, effective_rank_from_moments
from lightning_monocon.metrics.spectral import SpectrumOfOneRole, SpectrumOptions


class SpectralEffectiveRank(SpectrumOfOneRole):
    r"""Compute the exponential of the entropy of the spectrum; by default RankMe (arXiv 2210.02885) without epsilon.

    .. math::
        \exp\Bigl(-\sum_i p_i\log p_i\Bigr),\qquad p_i = s_i / \sum_j s_j

    over the singular values s of the raw, uncentred rows (Roy & Vetterli 2007). Centred, or of eigenvalues, it is
    another number.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, for fewer than two rows or rows of
    zeros.

    Args:
        centred: Subtract the mean first.
        values: ``"singular"`` values or ``"eigenvalues"`` (their squares).
        normalize: Divide every row by its length first.
        kwargs: Those of `SpectrumOptions` and of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = SpectralEffectiveRank(small_sample="ignore")
        >>> metric.update(torch.eye(4))
        >>> metric.compute()
        tensor(4.)
    """

    def __init__(
        self,
        centred: bool = False,
        values: Values = "singular",
        normalize: bool = False,
        **kwargs: Unpack[SpectrumOptions],
    ) -> None:
        check_choice("values", values, get_args(Values))
        super().__init__(normalize=normalize, **kwargs)
        self.centred = centred
        self.values: Values = values

    def value(self, statistics: Moments) -> Tensor:
        """Return the value of given statistics, 0-d float64."""
        return effective_rank_from_moments(statistics, self.centred, self.values)
