# SPDX-License-Identifier: Apache-2.0
"""Compute the losses of pairs, CLIP's and SigLIP's, of which each score is computed once.

They have no Triton kernels: plain torch, a tile of scores at a time, serves every device.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lightning_monocon.kernels.dispatch import in_transform
from lightning_monocon.kernels.pairs.ops import pairs_operator
from lightning_monocon.kernels.pairs.reference import clip_reference, siglip_reference
from lightning_monocon.kernels.pairs.sigmoid import siglip_streamed
from lightning_monocon.kernels.pairs.symmetric import clip_streamed
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.shapes import as_scale, block_size, is_bounded

__all__ = ["clip", "siglip"]


def clip(
    first: Tensor, second: Tensor, temperature: float | Tensor = 0.07, *, options: Options | None = None
) -> Tensor:
    """Return CLIP's loss of N pairs: the mean of InfoNCE from the first side to the second and back.

    `lightning_monocon.losses.ClipLoss` documents the loss and validates its arguments; this function does not.
    Inside the transforms of `torch.func` and in forward mode the formula itself is evaluated.

    Args:
        first: Embeddings ``(M, D)`` of this rank.
        second: Their partners ``(M, D)``, row for row.
        temperature: T > 0; a 0-d tensor receives a gradient.
        options: Of these, `normalize`, `block_size`, `keep_bytes` and `gather` are used.

    Returns:
        The loss over the pairs of all ranks, 0-d, in float64 for float64 rows of the first side, else in float32.
    """
    scale = as_scale(temperature, first)
    chosen = options or Options(block_size=block_size(first.device))
    if in_transform(first, second, scale):
        return clip_reference(first, second, scale, chosen)
    chosen = replace(chosen, bounded=is_bounded(temperature, chosen.normalize))
    if torch.compiler.is_compiling() and chosen.gather is None:
        return pairs_operator(first, second, scale, None, chosen)
    return clip_streamed(first, second, scale, chosen)


def siglip(
    first: Tensor,
    second: Tensor,
    temperature: float | Tensor = 0.1,
    bias: float | Tensor = -10.0,
    *,
    options: Options | None = None,
) -> Tensor:
    """Return SigLIP's loss of N pairs: whether each row of either side belongs to each of the other, by logistic loss.

    `lightning_monocon.losses.SigLipLoss` documents the loss and validates its arguments; this function does not.

    Args:
        first: Embeddings ``(M, D)`` of this rank.
        second: Their partners ``(M, D)``, row for row.
        temperature: T > 0; a 0-d tensor receives a gradient.
        bias: What is added to every score; a 0-d tensor receives a gradient.
        options: As for `clip`; nothing is kept.

    Returns:
        The loss over the pairs of all ranks, 0-d, in float64 for float64 rows of the first side, else in float32.
    """
    scale, offset = as_scale(temperature, first), as_scale(bias, first)
    chosen = options or Options(block_size=block_size(first.device))
    if in_transform(first, second, scale, offset):
        return siglip_reference(first, second, scale, offset, chosen)
    if torch.compiler.is_compiling() and chosen.gather is None:
        return pairs_operator(first, second, scale, offset, chosen)
    return siglip_streamed(first, second, scale, offset, chosen)
