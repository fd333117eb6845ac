# SPDX-License-Identifier: Apache-2.0
r"""Map the features of an encoder to the embedding: by a monotonic head, its unconstrained twin, or a bottleneck.

All heads take floating-point features of shape (..., in_features) and return (..., out_features). All are a *float32
island*: they sum in and return float32 under any autocast and for 16-bit inputs or weights (float64 if the input or a
weight is float64). A monotonic head with the reference initialisation spreads its outputs over 1e-4 of their
length, which rounding to bfloat16 would erase.
"""

from lightning_monocon.heads.certify import certify_neighbours
from lightning_monocon.heads.monotonic import MonotonicMLP
from lightning_monocon.heads.plain import LinearHead, MLPHead

__all__ = ["LinearHead", "MLPHead", "MonotonicMLP", "certify_neighbours"]
