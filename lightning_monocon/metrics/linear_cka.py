# SPDX-License-Identifier: Apache-2.0
"""Measure unbiased linear CKA as a metric; see `lightning_monocon.functional.linear_cka`."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_embeddings, finite_rows
from lightning_monocon.functional.linear_cka import linear_cka
from lightning_monocon.metrics.streaming import MetricOptions, StreamingMetric


class LinearCKA(StreamingMetric):
    r"""Compare two embeddings of the same inputs by linear centred kernel alignment, with unbiased HSIC.

    .. math::
        \frac{\mathrm{HSIC}_1(K, L)}{\sqrt{\mathrm{HSIC}_1(K, K)\,\mathrm{HSIC}_1(L, L)}}

    As input to ``update`` the metric accepts ``first`` ``(N, D1)`` and ``second`` ``(N, D2)``, row by row one input.
    As output of ``compute`` it returns a 0-d float32 tensor, at most 1; NaN, with one warning, for fewer than four
    rows.

    All rows are held: the value is that of the whole set, not a mean over batches.

    Args:
        kwargs: Those of `torchmetrics.Metric`.

    Example:
        >>> rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        >>> metric = LinearCKA()
        >>> metric.update(rows, 2.0 * rows.flip(1) + 1.0)
        >>> metric.compute().round(decimals=4)
        tensor(1.)
    """

    higher_is_better = True
    first: list[Tensor] | Tensor
    second: list[Tensor] | Tensor

    def __init__(self, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        for name in ("first", "second"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, first: Tensor, second: Tensor) -> None:
        """Add rows of both embeddings.

        Args:
            first: ``(N, D1)``, any floating dtype; ``N`` may be 0.
            second: ``(N, D2)``, of the same inputs in the same order.

        Raises:
            TypeError: If an input is not a floating-point tensor.
            ValueError: If a shape or width is wrong, the numbers of rows differ, or a row is not finite.
        """
        sides = {"first": first, "second": second}
        for name, rows in sides.items():
            held: list[Tensor] = getattr(self, name)
            sides[name] = check_embeddings(rows, name, width=held[0].shape[1] if held else None)
            finite_rows(rows, "error", name)
        if len(first) != len(second):
            raise ValueError(f"`second` must have {len(first)} rows, the same inputs as `first`; got {len(second)}.")
        with torch.inference_mode(False):
            for name, rows in sides.items():
                getattr(self, name).append(rows.to(self.state_device, copy=True))

    def compute(self) -> Tensor:
        """Return the CKA, 0-d float32."""
        return self.result(linear_cka(_joined(self.first), _joined(self.second)))


def _joined(state: Tensor | list[Tensor]) -> Tensor:
    if isinstance(state, Tensor):  # gathered from the ranks
        return state
    return torch.cat(state) if state else torch.empty(0, 1)
