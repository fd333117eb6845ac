# SPDX-License-Identifier: Apache-2.0
"""Scale rows to unit length in plain torch, and take gradients back; `launch_rows` does the same on Triton kernels.

A row is first multiplied by a power of two, so that its sum of squares neither overflows nor vanishes; see
`lightning_monocon.functional.unit_rows`. A row of zeros stays zero, and its gradient is that of
`torch.nn.functional.normalize`, which divides by 1e-12.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_monocon.functional.unit_rows import binary_scale

SHORTEST = 1e-12


def differentiable_rows(embeddings: Tensor, dtype: torch.dtype, normalize: bool) -> Tensor:
    """Return the embeddings ``(N, D)`` in float32 or float64, of unit length on request; autograd differentiates it."""
    rows = embeddings.to(dtype)
    return F.normalize(rows * binary_scale(rows), dim=1, eps=SHORTEST) if normalize else rows


def unit_rows(embeddings: Tensor, dtype: torch.dtype, normalize: bool) -> tuple[Tensor, Tensor]:
    """Return new rows z ``(N, D)`` in `dtype`, and r ``(N,)``, one over the length, negative for rows of zeros."""
    rows = embeddings.to(dtype, copy=True)
    if not normalize:
        return rows, rows.new_ones(len(rows))
    scale = binary_scale(rows)
    lengths = torch.linalg.vector_norm(rows.mul_(scale), dim=1, keepdim=True)
    divisors = lengths.clamp_min(SHORTEST)
    r = torch.where(lengths > SHORTEST, scale, -scale) / divisors
    return rows.div_(divisors), r.squeeze(1)


def through_unit_(dz: Tensor, z: Tensor, r: Tensor) -> Tensor:
    """Convert the gradient of z, in place, into the gradient of the embeddings."""
    along = (dz * z).sum(1).mul_(r > 0).unsqueeze(1)
    return dz.addcmul_(along, z, value=-1).mul_(r.abs().unsqueeze(1))
