# SPDX-License-Identifier: Apache-2.0
"""Derive tile sizes and dtypes from shapes and options alone, without Triton and without reading values."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lightning_monocon.kernels.dispatch import constant_to_compilers, is_certain, is_interpreting
from lightning_monocon.kernels.supcon.options import Options, Precision
from lightning_monocon.kernels.supcon.tiles import EXPONENT_LIMIT

CPU_BLOCK = 512
"""Side of a tile on a CPU: 1 MB of float32, which fits into the second-level cache."""
DEVICE_BLOCK = 4096
"""Side of a tile on an accelerator, where a few large launches are faster."""

COMPARE_UP_TO = 2048
"""Rows up to which tiles compare labels (fewer launches); above, class sums are used (fewer registers)."""


def block_size(device: torch.device) -> int:
    """Return the default side of a tile on a device."""
    return CPU_BLOCK if device.type == "cpu" else DEVICE_BLOCK


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the arithmetic: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def as_scale(temperature: float | Tensor, rows: Tensor) -> Tensor:
    """Return T, 0-d, on the device and in the arithmetic of the rows; a number is written there without a host copy."""
    dtype = wide_dtype(rows.dtype)
    if isinstance(temperature, Tensor):
        return temperature.to(device=rows.device, dtype=dtype)
    return torch.full((), temperature, dtype=dtype, device=rows.device)


def is_bounded(temperature: float | Tensor, normalize: bool) -> bool:
    """Return whether all logits are known to be small, without waiting for a device or breaking a graph."""
    if not normalize:
        return False
    if isinstance(temperature, Tensor):
        if torch.compiler.is_compiling() or temperature.device.type != "cpu":
            return False
        if torch._C._functorch.is_functorch_wrapped_tensor(temperature):
            return False
        temperature = float(temperature.detach())
    return 1 / temperature <= EXPONENT_LIMIT


def resolved(options: Options, embeddings: Tensor, temperature: float | Tensor, count: int | None = None) -> Options:
    """Return the options with everything decided that an operator must not decide.

    Inside a compiled program an operator sees no autocast, and a decision by a size would fix that size.

    Args:
        options: The options of the loss.
        embeddings: Embeddings of this rank.
        temperature: As the caller gave it.
        count: Rows of all ranks; None if the kernels compare no labels.
    """
    return replace(
        options,
        bounded=is_bounded(temperature, options.normalize),
        precision=_precision(embeddings) if options.precision == "auto" else options.precision,
        compare=count is not None and compares_labels(count, options),
    )


def compares_labels(count: int, options: Options) -> bool:
    """Return whether the tiles compare labels: for few rows, and to leave ignored rows out of the denominators."""
    return options.ignore_index is not None or is_certain(count <= COMPARE_UP_TO)


def _precision(embeddings: Tensor) -> Precision:
    """Return what "auto" stands for: "fp16" if the program accepts its rounding elsewhere, else "bf16x3".

    Half-precision embeddings, autocast and a float32 matmul precision below "highest" accept it.
    """
    rounded = embeddings.dtype != torch.float32 or torch.is_autocast_enabled(embeddings.device.type)
    return "fp16" if rounded or _rounds_products() else "bf16x3"


@constant_to_compilers  # they compile again if the setting changes
def _rounds_products() -> bool:
    return torch.get_float32_matmul_precision() != "highest"


def tile_dtype(options: Options) -> torch.dtype:
    """Return the dtype of z: float32 for rows that are not normalised, which may overflow float16."""
    return torch.float16 if options.normalize and options.precision == "fp16" else torch.float32


def dot_precision(options: Options) -> str:
    """Return how float32 tiles multiply: by default as three bfloat16 products, accurate to about 3e-6."""
    if is_interpreting():
        return "ieee"  # the interpreter always multiplies in float32, and rejects the name bf16x3
    return options.precision if options.precision in ("tf32", "bf16x3", "ieee") else "bf16x3"
