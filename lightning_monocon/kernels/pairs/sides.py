# SPDX-License-Identifier: Apache-2.0
"""Prepare the two sides of a loss of pairs, on one rank or on several, and take gradients back to the caller's rows.

A rank holds M rows of each side, and the second sides of all ranks are its N columns: each score is computed once, on
the rank of its first row. The gradients of the columns are summed over ranks, and all of them are multiplied by the
number of ranks, because data-parallel training averages over ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.kernels.supcon.kept import quick_through_unit_, quick_unit_rows, refuse_to_differentiate
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.unit import unit_rows


class Side(NamedTuple):
    """Hold the rows of one side on this rank."""

    rows: Tensor
    """``(M, D)``, of unit length unless the caller keeps lengths."""
    inverse: Tensor
    """``(M,)``, r of `unit.unit_rows`."""
    ordinary: bool
    """Whether all lengths are known to be ordinary."""

    @classmethod
    def of(cls, embeddings: Tensor, dtype: torch.dtype, options: Options) -> Side:
        """Return a side in `dtype`; the lengths themselves are read only on a CPU, where the host need not wait."""
        if options.normalize and embeddings.is_cpu and len(embeddings):
            return cls(*quick_unit_rows(embeddings.detach(), dtype))
        return cls(*unit_rows(embeddings.detach(), dtype, options.normalize), False)

    def back(self, gradient: Tensor, options: Options) -> Tensor:
        """Return the gradient of the embeddings from that of the rows, which it overwrites."""
        return quick_through_unit_(gradient, *self) if options.normalize else gradient


def returned(gradient: Tensor, embeddings: Tensor) -> Tensor:
    """Return a gradient in the dtype of its embeddings; a second derivative of it raises."""
    gradient = gradient.to(embeddings.dtype)
    # the backward pass is recorded where a second derivative is wanted
    return refuse_to_differentiate(gradient, embeddings) if torch.is_grad_enabled() else gradient


def everyone(rows: Tensor, options: Options) -> Tensor:
    """Return the rows of all ranks ``(N, D)``."""
    return rows if options.gather is None else options.gather(rows)


def own_columns(options: Options, count: int) -> slice:
    """Return where the partners of this rank's rows stand among the columns."""
    return slice(options.start, options.start + count)


def own_gradient(by_columns: Tensor, options: Options, count: int) -> Tensor:
    """Return the gradient ``(M, D)`` of this rank's second side from its part ``(N, D)`` of that of all columns."""
    return by_columns if options.gather is None else options.gather.sum(by_columns)[own_columns(options, count)].clone()


def total(value: Tensor, options: Options) -> Tensor:
    """Return a value summed over ranks."""
    return value if options.gather is None else options.gather.sum(value)
