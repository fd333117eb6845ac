# SPDX-License-Identifier: Apache-2.0
"""Launch the kernels that scale rows to unit length and take the gradient back. Imports Triton."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from lightning_monocon.kernels.supcon import kernel_rows


def unit_rows(embeddings: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return unit rows z ``(M, D)`` in a tile dtype, and r ``(M,)``, negative if the length was clamped."""
    embeddings = embeddings if embeddings.stride(-1) == 1 else embeddings.contiguous()
    count, dim = embeddings.shape
    z = embeddings.new_empty((count, dim), dtype=dtype)
    r = embeddings.new_empty(count, dtype=torch.float32)
    if count:
        kernel_rows.unit_rows_kernel[(count,)](
            y_ptr=embeddings,
            z_ptr=z,
            r_ptr=r,
            D=dim,
            y_stride=embeddings.stride(0),
            z_stride=z.stride(0),
            BLOCK_D=_block(dim),
        )
    return z, r


def unit_rows_backward(
    dz: Tensor,
    z: Tensor,
    r: Tensor,
    grad: Tensor,
    temperature: Tensor,
    averaged: Tensor,
    factor: float,
    normalize: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the embeddings, ``(M, D)`` float32, and of the temperature, 0-d.

    Args:
        dz: ``(M, D)`` float32, contiguous, to be multiplied by ``factor grad / (T averaged)``.
        z: Unit rows.
        r: As `unit_rows` returns it.
        grad: Gradient of the loss, 0-d float32.
        temperature: T.
        averaged: Number of anchors in the mean, 0-d float32.
        factor: The part of the scale that is known on the host.
        normalize: Whether z was normalised; if not, it is the embeddings themselves.
    """
    count, dim = dz.shape
    by_embeddings = torch.empty_like(dz)
    along = dz.new_empty(count)
    if count:
        kernel_rows.unit_rows_backward_kernel[(count,)](
            dz_ptr=dz,
            z_ptr=z,
            r_ptr=r,
            grad_ptr=grad,
            temperature_ptr=temperature,
            averaged_ptr=averaged,
            dy_ptr=by_embeddings,
            along_ptr=along,
            D=dim,
            stride=dz.stride(0),
            factor=factor,
            NORMALIZE=normalize,
            BLOCK_D=_block(dim),
        )
    return by_embeddings, along.sum() / (-2 * temperature)


def _block(dim: int) -> int:
    return min(int(triton.next_power_of_2(dim)), 1024)
