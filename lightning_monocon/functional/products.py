# SPDX-License-Identifier: Apache-2.0
"""Multiply float32 matrices on a CPU by the fastest of the libraries that are installed anyway.

On AMD, torch's own product (MKL) does not use AVX-512. oneDNN, which torch has too, asks the processor itself and takes
half of the time where many numbers are summed; where few are, NumPy's product (OpenBLAS) takes a third. All of them sum
in float32, in an order of their own.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from lightning_monocon.functional import onednn

_SUMMED = 24
"""Summed columns from which oneDNN is the faster one."""

_FULL = ("none", "ieee")  # what torch says where all digits are kept
_NARROW, _FEW = 16, 64  # numbers and rows up to which copies into oneDNN's layout cost more than they win
_MANY = 1 << 21  # products beyond which they are written to fresh memory, which costs more


def product(rows: Tensor, columns: Tensor, out: Tensor) -> Tensor:
    """Return the float32 product ``(N, M)`` of ``rows`` ``(N, K)`` and ``columns`` ``(K, M)``, for sums over blocks.

    Where oneDNN is missing, NumPy multiplies.

    Args:
        rows: The left factor.
        columns: The right factor.
        out: ``(N, M)``, contiguous, in which the product may be stored; a new tensor may be returned instead.
    """
    if rows.device.type != "cpu":
        return torch.mm(rows, columns, out=out)
    packed = columns.is_contiguous() or columns.T.is_contiguous()  # oneDNN is slow with anything else
    if packed and len(columns) >= _SUMMED and _all_digits() and onednn.is_available():
        return onednn.pointwise(rows, columns.T)
    with np.errstate(all="ignore"):  # as torch, which leaves what overflows to the caller
        np.dot(rows.detach().numpy(), columns.detach().numpy(), out=out.numpy())
    return out


def inner_products(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner products ``(N, M)`` of rows ``(N, D)`` with rows ``(M, D)``, without gradients.

    Of float32 rows on the CPU they have all digits of float32, whatever `torch.set_float32_matmul_precision` and
    autocast allow.

    Example:
        >>> inner_products(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([[11.,  2.]])
    """
    left, right = left.detach(), right.detach()
    if left.device.type != "cpu" or left.dtype != torch.float32:
        return left @ right.T
    if not _all_digits() or torch.is_autocast_enabled("cpu"):
        with np.errstate(all="ignore"):
            return torch.from_numpy(left.numpy() @ right.numpy().T)
    wins = left.shape[1] > _NARROW and min(len(left), len(right)) > _FEW and len(left) * len(right) <= _MANY
    if not wins or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return left @ right.T
    found: Tensor = linear(left.to_mkldnn(), right.to_mkldnn()).to_dense()
    return found


def _all_digits() -> bool:
    """Return whether oneDNN keeps all digits of float32, which `torch.set_float32_matmul_precision` may change."""
    # torch.backends.mkldnn becomes a class with this attribute when it is imported
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    return settings.fp32_precision in _FULL
