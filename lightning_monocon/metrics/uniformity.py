# SPDX-License-Identifier: Apache-2.0
"""Measure uniformity on the sphere as a metric; see `lightning_monocon.functional.uniformity`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.uniformity import check_temperature, uniformity
from lightning_monocon.metrics.rows import RowsOfOneRole, SampleOptions


class Uniformity(RowsOfOneRole):
    r"""Measure how evenly unit rows cover the sphere, at most 0; lower is more uniform (Wang & Isola 2020).

    .. math::
        \log \frac{2}{N(N-1)}\sum_{i<j} e^{-t|u_i - u_j|^2}

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns a 0-d float32 tensor, with ``max_rows`` ``{"uniformity", "rows_kept",
    "rows_seen"}``; NaN, with one warning, for fewer than two rows. O(N^2) time.

    Args:
        t: The kernel's exponent.
        max_rows: Hold a seeded sample of at most so many rows; None for all.
        kwargs: Those of `SampleOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``t`` is not positive, or another argument is out of range.

    Example:
        >>> import torch
        >>> metric = Uniformity()
        >>> metric.update(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> metric.compute()
        tensor(-8.)
    """

    higher_is_better = False

    def __init__(self, t: float = 2.0, max_rows: int | None = None, **kwargs: Unpack[SampleOptions]) -> None:
        check_temperature(t)
        super().__init__(max_rows, **kwargs)
        self.t = t

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the uniformity, 0-d float32; of a sample with its sizes beside it."""
        value = uniformity(self.held(self.role).rows, self.t)
        return self.result(value) if self.bounds[self.role] is None else self.reported({"uniformity": value})
