# SPDX-License-Identifier: Apache-2.0
"""Multiply float32 matrices on a CPU by the fastest of the libraries that are installed anyway.

On AMD, torch's own product (MKL) does not use AVX-512: NumPy's (OpenBLAS) takes a third of its time where few columns
are summed, and oneDNN's half of it where many are. oneDNN is called through the operator that inductor emits, which is
private to torch; where it is missing, NumPy multiplies. All of them sum in float32, in an order of their own.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

_MANY = 24
"""Summed columns from which oneDNN is the faster one."""


def product(rows: Tensor, columns: Tensor, out: Tensor) -> Tensor:
    """Return the float32 product ``(N, M)`` of ``rows`` ``(N, K)`` and ``columns`` ``(K, M)``.

    Args:
        rows: The left factor.
        columns: The right factor.
        out: ``(N, M)``, contiguous, in which the product may be stored; a new tensor may be returned instead.
    """
    if rows.device.type != "cpu":
        return torch.mm(rows, columns, out=out)
    packed = columns.is_contiguous() or columns.T.is_contiguous()  # oneDNN is slow with anything else
    if packed and len(columns) >= _MANY and _has_onednn():
        found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, columns.T, None, "none", [], "")
        return found
    with np.errstate(all="ignore"):  # as torch, which leaves what overflows to the caller
        np.dot(rows.detach().numpy(), columns.detach().numpy(), out=out.numpy())
    return out


@cache
def _has_onednn() -> bool:
    """Return whether oneDNN's product works here: the operator exists, and the processor has what it needs."""
    one = torch.ones(1, 1)
    try:
        return bool(torch.ops.mkldnn._linear_pointwise(one, one, None, "none", [], "") == one)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
