# SPDX-License-Identifier: Apache-2.0
"""Gather rows over the ranks of a process group, which may hold different numbers of them.

`RowGather` holds the layout of a batch that is spread over ranks and gathers rows without gradients; `gather_rows` is
its differentiable form. In a single process, without an initialised process group, nothing is gathered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

# torch 2.13 renamed the collective and warns about the old name, the only one in 2.10; a build without
# `torch.distributed` has neither
_all_gather: Any = getattr(dist, "all_gather_single", None) or getattr(dist, "all_gather_into_tensor", None)


class RowGather:
    """Hold the layout of a batch that is spread over ranks, and gather its rows.

    The constructor is a collective call (the ranks exchange their row counts) and waits for the device, because the
    counts give shapes. Rank `r` holds the rows `start` to `start + counts[r]` of the gathered batch.

    Args:
        count: Rows on this rank, 0 allowed.
        device: Device of the rows; the counts are exchanged over the same backend.
        group: Process group; None is the default group.
    """

    def __init__(self, count: int, device: torch.device, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.rank = dist.get_rank(group)
        self.world_size = dist.get_world_size(group)
        counts = torch.empty(self.world_size, dtype=torch.int64, device=device)
        _all_gather(counts, torch.full((1,), count, dtype=counts.dtype, device=device), group=group)
        self.counts: list[int] = counts.tolist()
        self.start = sum(self.counts[: self.rank])

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the rows of all ranks in rank order, shape ``(sum(counts), ...)``, without a gradient."""
        longest = max(self.counts)
        # gloo gathers equal shapes only: pad to the longest rank, then cut the padding out
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows.detach()
        gathered = rows.new_empty((self.world_size * longest, *rows.shape[1:]))
        _all_gather(gathered, padded, group=self.group)
        if min(self.counts) == longest:
            return gathered
        starts = range(0, len(gathered), longest)
        return torch.cat([gathered[start : start + count] for start, count in zip(starts, self.counts, strict=True)])

    def sum(self, value: Tensor) -> Tensor:
        """Return `value` summed over the ranks, without a gradient."""
        total = value.detach().clone()
        dist.all_reduce(total, group=self.group)
        return total


class _GatherRows(torch.autograd.Function):
    """Gather rows forward; backward, sum the gradients of the ranks and keep the slice of the local rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, layout: RowGather) -> Tensor:  # noqa: ANN401  (torch types ctx no better)
        ctx.layout = layout
        return layout(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        layout: RowGather = ctx.layout
        stop = layout.start + layout.counts[layout.rank]
        return layout.sum(grad.contiguous())[layout.start : stop], None


_gather: Callable[[Tensor, RowGather], Tensor] = _GatherRows.apply


def is_distributed(group: dist.ProcessGroup | None = None) -> bool:
    """Return whether a process group is initialised and has more than one rank."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size(group) > 1


def world() -> tuple[int, int]:
    """Return ``(rank, world size)`` of this process; ``(0, 1)`` without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_rows(rows: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Return the rows of all ranks, in rank order and differentiable.

    The ranks may hold different numbers of rows. The backward pass gives each rank the gradient, with respect to its
    own rows, of the *sum* of the ranks' losses; if every rank computes the same loss from the gathered rows, the
    average that DistributedDataParallel takes over ranks is then the gradient of that loss on one rank.

    Args:
        rows: Local rows, shape ``(n, ...)``; the trailing shape and the dtype agree on all ranks. Integer rows
            (labels) carry no gradient.
        group: Process group; None is the default group.

    Returns:
        Rows of shape ``(sum of n over ranks, ...)``; `rows` itself where there is only one rank.

    Example:
        >>> gather_rows(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 2.]])
    """
    if not is_distributed(group):
        return rows
    layout = RowGather(len(rows), rows.device, group)
    return _gather(rows, layout) if rows.requires_grad else layout(rows)
