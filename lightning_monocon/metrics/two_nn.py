# SPDX-License-Identifier: Apache-2.0
"""Measure the TwoNN intrinsic dimension as a metric; see `lightning_monocon.functional.two_nn`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.two_nn import check_discard, two_nn
from lightning_monocon.metrics.rows import RowsOfOneRole, SampleOptions


class TwoNN(RowsOfOneRole):
    r"""Estimate the intrinsic dimension from the ratio of the distances to the two nearest others (Facco et al. 2017).

    The slope through the origin of :math:`-\log(1 - F(\mu))` on :math:`\log\mu`, :math:`\mu = r_2/r_1`. O(N^2) time.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns ``{"two_nn", "two_nn_left_out"}``, 0-d float32 tensors (rows that have a copy
    are left out and counted), and with ``max_rows`` also ``rows_kept`` and ``rows_seen``.

    Args:
        discard: Share of the largest ratios left out of the fit, in [0, 1).
        max_rows: Hold a seeded sample of at most so many rows; None for all.
        kwargs: Those of `SampleOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``discard`` is not in [0, 1), or another argument is out of range.

    Example:
        >>> import torch
        >>> metric = TwoNN()
        >>> metric.update(torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) @ torch.eye(2, 10))
        >>> metric.compute()["two_nn"].round()
        tensor(2.)
    """

    higher_is_better = False

    def __init__(self, discard: float = 0.1, max_rows: int | None = None, **kwargs: Unpack[SampleOptions]) -> None:
        check_discard(discard)
        super().__init__(max_rows, **kwargs)
        self.discard = discard

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"two_nn", "two_nn_left_out"}``, 0-d float32."""
        dimension, left_out = two_nn(self.held(self.role).rows, self.discard)
        return self.reported({"two_nn": dimension, "two_nn_left_out": left_out})
