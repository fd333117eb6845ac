# SPDX-License-Identifier: Apache-2.0
"""Rows of unit length and the way back, in plain torch, as `launch_rows` has them on Triton kernels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SHORTEST = 1e-12


def unit_rows(embeddings: Tensor, dtype: torch.dtype, normalize: bool) -> tuple[Tensor, Tensor]:
    """Return rows z ``(N, D)`` in `dtype`, fresh, and r ``(N,)``: 1 over the length, negative where it was clamped."""
    wide = embeddings.to(dtype, copy=True)
    lengths = torch.linalg.vector_norm(wide, dim=1)
    r = lengths.clamp_min(SHORTEST).reciprocal()
    return F.normalize(wide, dim=1) if normalize else wide, torch.where(lengths > SHORTEST, r, -r)


def through_unit_(dz: Tensor, z: Tensor, r: Tensor) -> Tensor:
    """Turn the gradient of z, in place, into that of the embeddings."""
    along = (dz * z).sum(1, keepdim=True)
    return dz.sub_(along.mul_((r > 0).unsqueeze(1)) * z).mul_(r.abs().unsqueeze(1))
