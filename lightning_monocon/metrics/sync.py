# SPDX-License-Identifier: Apache-2.0
"""Gather metric states over ranks, whatever their sizes; a rank may have no data."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64)
_MOST_DIMENSIONS = 4


def is_unset(shape: tuple[int, ...]) -> bool:
    """Return whether a state of this shape is still the default: no entries, or moments ``(G, 1, 1)`` of no feature."""
    return 0 in shape or (len(shape) == 3 and shape[-1] == 1)


def common_shape(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape that holds the state of every rank; raise ValueError if the rows differ in width."""
    known = [shape for shape in shapes if not is_unset(shape)] or shapes
    if len({shape[1:] for shape in known}) > 1:
        widths = sorted({shape[-1] - int(len(shape) == 3) for shape in known})
        raise ValueError(
            "`embeddings` must have the same number of features on every rank and in every merged metric;"
            f" got {widths}."
        )
    return (max(shape[0] for shape in known), *known[0][1:])


def widen(state: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return ``state`` padded at the end of each dimension with zeros up to ``shape``, an empty one too."""
    if state.numel() == 0:
        return state.new_zeros(shape)
    margins = [(0, wide - narrow) for wide, narrow in zip(shape, state.shape, strict=True)]
    return pad(state, [side for margin in reversed(margins) for side in margin])


def _header(state: Tensor) -> Tensor:
    shape = [*state.shape] + [-1] * (_MOST_DIMENSIONS - state.ndim)
    return torch.tensor([_DTYPES.index(state.dtype), *shape], dtype=torch.int64, device=state.device)


def gather_ragged(state: Tensor, group: torch.distributed.ProcessGroup | None = None) -> list[Tensor]:
    """Return the states of all ranks, each with its own number of rows and the common width and dtype.

    ``torchmetrics`` gathers a list state that is empty on one rank with the wrong rank, width and dtype, and gloo
    then aborts the process. Here every rank first tells its shape and dtype; those without data send zeros.

    Args:
        state: This rank's state, floating or int64, at most 4 dimensions.
        group: The process group; None for all ranks.

    Raises:
        ValueError: If two ranks hold rows of different width.
    """
    world = torch.distributed.get_world_size(group)
    header = _header(state)
    headers = [torch.zeros_like(header) for _ in range(world)]
    torch.distributed.all_gather(headers, header, group=group)
    told = [tuple(line.tolist()) for line in headers]
    shapes = [tuple(size for size in line[1:] if size >= 0) for line in told]
    shape = common_shape(shapes)
    source = next((rank for rank, own in enumerate(shapes) if not is_unset(own)), 0)
    dtype = _DTYPES[told[source][0]]
    mine = widen(state.to(dtype), shape).contiguous()
    gathered = [torch.empty_like(mine) for _ in range(world)]
    torch.distributed.all_gather(gathered, mine, group=group)
    return [part[: own[0]] for part, own in zip(gathered, shapes, strict=True)]
