# SPDX-License-Identifier: Apache-2.0
"""The supervised contrastive loss: one function, and the one switch between its implementations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_monocon.kernels.dispatch import Backend, has_triton, measure
from lightning_monocon.kernels.supcon.ops import supcon_operator
from lightning_monocon.kernels.supcon.options import Options, Precision, Singletons
from lightning_monocon.kernels.supcon.route import find_route
from lightning_monocon.kernels.supcon.shapes import block_size as default_block
from lightning_monocon.kernels.supcon.shapes import is_bounded, wide_dtype
from lightning_monocon.kernels.supcon.streamed import supcon_streamed

if TYPE_CHECKING:
    from lightning_monocon.functional.gather import RowGather

__all__ = ["supcon", "tune"]


def supcon(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    normalize: bool = True,
    singletons: Singletons = "zero",
    ignore_index: int | None = None,
    gather: RowGather | None = None,
    block_size: int | None = None,
    backend: Backend = "auto",
    precision: Precision = "auto",
) -> Tensor:
    """Return the supervised contrastive loss of ``(N, D)`` embeddings; `SupConLoss` documents and checks it.

    The arguments are taken as valid here. float16 and bfloat16 embeddings are taken to float32.

    Args:
        embeddings: This rank's embeddings.
        labels: Their integer labels, ``(N,)``.
        temperature: T > 0; a 0-d tensor gets its gradient.
        normalize: Whether the rows are first brought to unit length.
        singletons: The rule for an anchor without a positive.
        ignore_index: Rows with this label take no part.
        gather: The layout of the batch over ranks; None for one rank.
        block_size: Side of a tile of pairs; None chooses.
        backend: Which implementation; "auto" takes the faster one.
        precision: How the Triton kernels multiply. "fp16" and "tf32" keep eleven bits (gradients to about 3e-4),
            "bf16x3" and "ieee" float32. "auto" is "bf16x3", or "fp16" where the program accepts such rounding:
            half-precision embeddings, autocast, or a float32 matmul precision below "highest".

    Returns:
        The loss over the rows of all ranks, 0-d, float64 for float64 embeddings and float32 for all others.

    Raises:
        ValueError: If `backend` cannot serve these embeddings.
        RuntimeError: If ``backend="triton"`` and Triton is not installed.
    """
    scale = torch.as_tensor(temperature, dtype=wide_dtype(embeddings.dtype), device=embeddings.device)
    options = Options(
        normalize=normalize,
        singletons=singletons,
        ignore_index=ignore_index,
        block_size=block_size or default_block(embeddings.device),
        bounded=is_bounded(temperature, normalize),
        precision=precision,
        gather=gather,
    )
    route = find_route("supcon", backend, embeddings, scale, gathered=gather is not None)
    if route == "operator":
        return supcon_operator(embeddings, labels, scale, options, backend)
    if route == "ranks":
        from lightning_monocon.kernels.supcon.ranks import across_ranks

        return across_ranks(embeddings, labels, scale, options)
    return supcon_streamed(embeddings, labels, scale, options)


def tune(rows: int, dim: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cuda") -> str:
    """Time both implementations on this machine and keep the faster one for ``backend="auto"`` at this size.

    Call it once, before training; under a process group on all ranks, and rank 0 decides. The answer is kept on disk
    (`dispatch.cache_path`) and holds for rows up to the next power of two.

    Args:
        rows: Rows per rank.
        dim: Dimensions of the embeddings.
        dtype: Their dtype.
        device: A GPU; anywhere else the answer is "torch" without a measurement.

    Returns:
        "triton" or "torch".
    """
    if torch.device(device).type != "cuda" or not has_triton():
        return "torch"
    embeddings = torch.randn(rows, dim, dtype=dtype, device=device, requires_grad=True)
    labels = torch.arange(rows, device=device) % max(rows // 4, 1)

    def step(backend: Backend) -> object:
        return torch.autograd.grad(supcon(embeddings, labels, backend=backend), embeddings)

    return measure("supcon", embeddings, {"triton": partial(step, "triton"), "torch": partial(step, "torch")})
