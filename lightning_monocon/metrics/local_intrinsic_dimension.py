# SPDX-License-Identifier: Apache-2.0
"""Measure local intrinsic dimension; see `lightning_monocon.functional.local_intrinsic_dimension`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.local_intrinsic_dimension import Average, check_average, local_intrinsic_dimension
from lightning_monocon.metrics.rows import RowsOfOneRole, SampleOptions


class LocalIntrinsicDimension(RowsOfOneRole):
    r"""Estimate the intrinsic dimension around each row by maximum likelihood, averaged (Levina & Bickel, NIPS 2004).

    .. math::
        \hat m = \Bigl(\frac{1}{k-1}\sum_{j<k}\log\frac{T_k}{T_j}\Bigr)^{-1}

    with :math:`T_j` the distance to the j-th nearest other row. O(N^2) time.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns ``{"local_intrinsic_dimension", "local_intrinsic_dimension_left_out"}``, 0-d
    float32 tensors (rows that have a copy are left out and counted), and with ``max_rows`` also ``rows_kept`` and
    ``rows_seen``.

    Args:
        k: Neighbours, at least 2.
        average: ``"harmonic"`` (MacKay & Ghahramani 2005) or ``"mean"`` (Levina & Bickel).
        max_rows: Hold a seeded sample of at most so many rows; None for all.
        kwargs: Those of `SampleOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``k`` is below 2, or another argument is out of range.

    Example:
        >>> import torch
        >>> metric = LocalIntrinsicDimension()
        >>> metric.update(torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) @ torch.eye(2, 10))
        >>> metric.compute()["local_intrinsic_dimension"].round()
        tensor(2.)
    """

    higher_is_better = False

    def __init__(
        self, k: int = 20, average: Average = "harmonic", max_rows: int | None = None, **kwargs: Unpack[SampleOptions]
    ) -> None:
        check_average(k, average)
        super().__init__(max_rows, **kwargs)
        self.k = k
        self.average: Average = average

    def compute(self) -> dict[str, Tensor]:
        """Return dimension and rows left out, 0-d float32."""
        dimension, left_out = local_intrinsic_dimension(self.held(self.role).rows, self.k, self.average)
        name = "local_intrinsic_dimension"
        return self.reported({name: dimension, f"{name}_left_out": left_out})
