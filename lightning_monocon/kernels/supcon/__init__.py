# SPDX-License-Identifier: Apache-2.0
"""Compute the supervised contrastive loss of one set of rows."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lightning_monocon.kernels.dispatch import Backend, has_triton, measure
from lightning_monocon.kernels.supcon.kept import serves, supcon_kept
from lightning_monocon.kernels.supcon.ops import supcon_operator
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.route import find_route
from lightning_monocon.kernels.supcon.shapes import as_scale, block_size, resolved
from lightning_monocon.kernels.supcon.streamed import supcon_streamed

__all__ = ["supcon", "tune"]


def supcon(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    options: Options | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Return the supervised contrastive loss of ``(N, D)`` embeddings.

    `lightning_monocon.losses.SupConLoss` documents the loss and validates its arguments; this function does not.
    float16 and bfloat16 embeddings are converted to float32.

    Args:
        embeddings: Embeddings of this rank.
        labels: Their integer labels, ``(N,)``.
        temperature: T > 0; a 0-d tensor receives a gradient.
        options: The options of the loss; None for the defaults of `SupConLoss`. `shapes.resolved` decides the rest.
        backend: The implementation; "auto" takes the faster one.

    Returns:
        The loss over the rows of all ranks, 0-d, in float64 for float64 embeddings and else in float32.

    Raises:
        ValueError: If `backend` does not support these embeddings.
        RuntimeError: If ``backend="triton"`` and Triton is not installed.
    """
    scale = as_scale(temperature, embeddings)
    chosen = options or Options(block_size=block_size(embeddings.device))
    count = embeddings.shape[0] if chosen.gather is None else sum(chosen.gather.counts)
    chosen = resolved(chosen, embeddings, temperature, count)
    gathered = chosen.gather is not None
    keeps = not torch.compiler.is_compiling() and serves(embeddings, labels, chosen)
    route, taken = find_route("supcon", backend, embeddings, scale, gathered=gathered, keeps=keeps)
    if route == "operator":
        return supcon_operator(embeddings, labels, scale, chosen, taken)
    if route == "ranks":
        from lightning_monocon.kernels.supcon.ranks import across_ranks

        return across_ranks(embeddings, labels, scale, chosen)
    if route == "kept":
        return supcon_kept(embeddings, labels, scale, chosen)
    return supcon_streamed(embeddings, labels, scale, chosen)


def tune(rows: int, dim: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cuda") -> str:
    """Time both implementations on this machine and let ``backend="auto"`` use the faster one at this size.

    Call it once, before training; under a process group, call it on all ranks, and rank 0 decides. The result is kept
    on disk (`dispatch.cache_path`) and applies to all numbers of rows with the same next power of two.

    Args:
        rows: Rows per rank.
        dim: Dimensions of the embeddings.
        dtype: Dtype of the embeddings.
        device: A GPU; for any other device the result is "torch" without a measurement.

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
