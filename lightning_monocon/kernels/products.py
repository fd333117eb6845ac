# SPDX-License-Identifier: Apache-2.0
"""Multiply 16-bit matrices into float32 on every device."""

from __future__ import annotations

import torch
from torch import Tensor


def widens(matrix: Tensor) -> bool:
    """Return whether torch multiplies such 16-bit matrices into float32, which only CUDA does.

    With ``torch.backends.cuda.matmul.allow_fp16_accumulation`` it refuses to do so for float16.
    """
    narrow_sums = matrix.dtype == torch.float16 and torch.backends.cuda.matmul.allow_fp16_accumulation
    return matrix.is_cuda and not narrow_sums


def add_product_(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left @ right`` to `out`, float32; 16-bit factors are summed in float32."""
    if left.dtype == out.dtype:
        out.addmm_(left, right)
    elif widens(left):
        torch.addmm(out, left, right, out_dtype=out.dtype, out=out)
    else:
        out.addmm_(left.to(out.dtype), right.to(out.dtype))


def product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``left @ right`` in `dtype`, in which 16-bit factors are summed if it is wider."""
    if left.dtype == dtype:
        return left @ right
    if widens(left):
        return torch.mm(left, right, out_dtype=dtype)
    return left.to(dtype) @ right.to(dtype)
