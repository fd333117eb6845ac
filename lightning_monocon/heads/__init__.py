# SPDX-License-Identifier: Apache-2.0
r"""Heads that map an encoder's features to the embedding: monotonic, its unconstrained twin, and a linear bottleneck.

All of them take features of shape (..., in_features), floating, and return (..., out_features). All are a *float32
island*: they sum in and return float32 under any autocast and for 16-bit inputs or weights (float64 if the input or a
weight is float64). A monotonic head that starts like the reference spreads its outputs over 1e-4 of their length,
which rounding to bfloat16 would erase.
"""

from lightning_monocon.heads.monotonic import MonotonicMLP
from lightning_monocon.heads.plain import LinearHead, MLPHead

__all__ = ["LinearHead", "MLPHead", "MonotonicMLP"]
