# SPDX-License-Identifier: Apache-2.0
"""Multiply float32 rows with float32 rows in half of the time.

torch hands such products to MKL, which does not use AVX-512 on processors of AMD. oneDNN, which torch has too, asks the
processor itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

_FULL = ("none", "ieee")  # what torch says where all digits are kept
_NARROW, _FEW = 16, 64  # numbers and rows up to which copies into oneDNN's layout cost more than they win
_MANY = 1 << 21  # products beyond which they are written to fresh memory, which costs more


def inner_products(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner products ``(N, M)`` of rows ``(N, D)`` with rows ``(M, D)``, without gradients.

    Of float32 rows on the CPU they have all digits of float32, whatever `torch.set_float32_matmul_precision` allows.

    Example:
        >>> inner_products(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([[11.,  2.]])
    """
    if left.device.type != "cpu" or left.dtype != torch.float32:
        return left @ right.T
    # torch.backends.mkldnn becomes a class with this attribute when it is imported
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    if settings.fp32_precision not in _FULL:
        return torch.from_numpy(left.numpy() @ right.numpy().T)
    wins = left.shape[1] > _NARROW and min(len(left), len(right)) > _FEW and len(left) * len(right) <= _MANY
    if not wins or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return left @ right.T
    found: Tensor = linear(left.to_mkldnn(), right.to_mkldnn()).to_dense()
    return found
