# SPDX-License-Identifier: Apache-2.0
"""Call oneDNN's float32 product through the operator that inductor emits, which copies nothing into another layout.

The operator is private to torch. All calls are here. Ask `is_available` first, or catch the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor


def pointwise(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, name: str = "none", scalars: Sequence[float] = ()
) -> Tensor:
    """Return an elementwise function of ``x`` ``(N, K)`` times ``weight`` ``(M, K)`` transposed, ``(N, M)``.

    Args:
        x: Float32 rows on a CPU, of any strides.
        weight: Float32, of any strides.
        bias: ``(M,)`` that is added first.
        name: The function, such as ``"leaky_relu"``.
        scalars: Its arguments.
    """
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, list(scalars), "")
    return found


@cache
def is_available() -> bool:
    """Return whether it works here: the operator exists, and the processor has what it needs."""
    one = torch.ones(1, 1, dtype=torch.float32)
    try:
        return bool(pointwise(one, one) == one)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
