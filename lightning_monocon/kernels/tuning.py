# SPDX-License-Identifier: Apache-2.0
"""Time the kernels against plain torch on this machine, for ``backend="auto"`` to follow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.monotone_linear import monotone_mlp
from lightning_monocon.kernels.supcon import supcon

__all__ = ["tune"]

OPERATIONS = ("supcon", "cross_supcon", "monotone_mlp")


def tune(
    rows: int,
    dim: int,
    *,
    features: int = 512,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cuda",
) -> dict[str, str]:
    """Time both implementations of each operation and let ``backend="auto"`` use the faster one at this size.

    Call it once, before training; under a process group, call it on all ranks, and rank 0 decides. The results are kept
    on disk (`dispatch.cache_path`) and apply to all numbers of rows with the same next power of two. It takes seconds,
    and minutes where the kernels are compiled for the first time.

    Args:
        rows: Rows per rank.
        dim: Dimensions of the embeddings, the output of the head.
        features: Dimensions of the head's input and of its hidden layer.
        dtype: Dtype of embeddings and features.
        device: A GPU.

    Returns:
        "triton" or "torch" for each of `OPERATIONS`; without a GPU or Triton all are "torch", and nothing is timed.
    """
    device = torch.device(device)
    if not dispatch.is_gpu(device) or not dispatch.has_triton():
        return dict.fromkeys(OPERATIONS, "torch")
    embeddings, others = (torch.randn(rows, dim, dtype=dtype, device=device, requires_grad=True) for _ in range(2))
    labels = torch.arange(rows, device=device) % max(rows // 4, 1)
    x = torch.randn(rows, features, dtype=dtype, device=device, requires_grad=True)
    shapes = (features, features), (dim, features)
    weights = [torch.randn(*shape, device=device).div_(features**0.5).requires_grad_() for shape in shapes]
    biases = [torch.zeros(shape[0], device=device, requires_grad=True) for shape in shapes]
    calls: dict[str, tuple[Tensor, Callable[[Backend], Tensor]]] = {
        "supcon": (embeddings, lambda backend: supcon(embeddings, labels, backend=backend)),
        "cross_supcon": (embeddings, lambda backend: cross_supcon(embeddings, others, labels, labels, backend=backend)),
        "monotone_mlp": (x, lambda backend: monotone_mlp(x, weights, biases, backend=backend).square().mean()),
    }
    return {name: _faster(name, *call) for name, call in calls.items()}


def _faster(name: str, rows: Tensor, loss: Callable[[Backend], Tensor]) -> str:
    def step(backend: Backend) -> object:
        return torch.autograd.grad(loss(backend), rows)

    return dispatch.measure(name, rows, {"triton": partial(step, "triton"), "torch": partial(step, "torch")})
