# SPDX-License-Identifier: Apache-2.0
"""Decide how a call of a contrastive loss is computed. Both losses and their operators ask here, and only here.

"operator"  one custom operator, which a compiler takes whole; it is told the implementation
"kernels"   the Triton kernels, inside the operator
"ranks"     the Triton kernels on the rows of all ranks, which communicate between forward and backward
"kept"      plain torch on a CPU, which keeps its exponentials for the backward pass
"streamed"  plain torch, one tile of pairs at a time
"formula"   plain torch, with the matrix of all pairs
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from lightning_monocon.kernels.dispatch import Backend, in_transform, use_triton

Loss = Literal["supcon", "cross_supcon"]
Route = Literal["operator", "kernels", "ranks", "kept", "streamed", "formula"]

# From counts of operations and launches: below, a step is a handful of launches either way. On an H200 the loss of one
# set was then measured (benchmarks/results/2026-11-28-kernels_cuda.md): with the plain formula as its rival it is
# slower at 256 and 1024 rows; with the streamed torch path, which is the other choice here, faster at both. Two sets
# need more rows, because their class sums take launches that comparing labels inside the tiles saves. An architecture
# on which no kernel has run is left to torch.
TABLES = {"supcon": {"sm_80": 256, "sm_90": 256}, "cross_supcon": {"sm_80": 1024, "sm_90": 1024}}
"""Rows (anchors, for two sets) from which ``backend="auto"`` takes the kernels, by loss and architecture."""

SMALL_UP_TO = 2**16
"""Pairs on a CPU up to which the formula between two sets is faster than any tiles: 256 anchors and 256 rows."""


def route(
    loss: Loss,
    triton: bool,
    *,
    in_operator: bool = False,
    compiling: bool = False,
    gathered: bool = False,
    transformed: bool = False,
    few_pairs: bool = False,
    keeps: bool = False,
) -> Route:
    """Return the route of a call.

    Args:
        loss: Which loss, of one set or between two.
        triton: Whether the Triton kernels serve the call.
        in_operator: Whether the operator itself asks, for the implementation inside.
        compiling: Whether a compiler traces the call.
        gathered: Whether the contrast set is the rows of several ranks.
        transformed: Whether a transform of `torch.func` or forward mode runs the call.
        few_pairs: Whether the pairs are so few that the formula is the fastest.
        keeps: Whether the exponentials may be kept.
    """
    if in_operator:
        return "kernels" if triton else "streamed"
    if compiling and not gathered:
        return "operator"
    if triton:
        return "ranks" if gathered else "operator"
    if keeps and not transformed:
        return "kept"
    if loss == "supcon":
        return "streamed"
    return "formula" if transformed or few_pairs else "operator"


def find_route(
    loss: Loss,
    backend: Backend,
    *tensors: Tensor,
    gathered: bool = False,
    pairs: int | None = None,
    keeps: bool = False,
) -> tuple[Route, Backend]:
    """Return the route of a call on these differentiable tensors, the embeddings first, and "triton" or "torch".

    Args:
        loss: Which loss.
        backend: The backend that the caller asked for.
        *tensors: The differentiable inputs.
        gathered: Whether the contrast set is the rows of several ranks.
        pairs: Number of pairs; None if they do not matter.
        keeps: Whether the exponentials may be kept.

    Raises:
        ValueError: If ``backend="triton"`` cannot serve the device or dtype of the embeddings.
        RuntimeError: If ``backend="triton"`` and Triton is not installed.
    """
    compiling = torch.compiler.is_compiling()
    # a compiler would specialise the program on the number of pairs
    small = not compiling and pairs is not None and pairs <= SMALL_UP_TO
    triton = use_triton(loss, backend, TABLES[loss], *tensors)
    found = route(
        loss,
        triton,
        compiling=compiling,
        gathered=gathered,
        transformed=in_transform(*tensors),
        few_pairs=small and backend == "auto" and tensors[0].is_cpu,
        keeps=keeps,
    )
    return found, "triton" if triton else "torch"


def keeps_small(loss: Loss, backend: Backend, *tensors: Tensor) -> bool:
    """Return whether a call that may keep its exponentials does; small steps would feel what `find_route` costs."""
    if backend == "triton" or torch.compiler.is_compiling():
        return False
    return route(loss, False, transformed=in_transform(*tensors), keeps=True) == "kept"


def takes_kernels(loss: Loss, backend: str, embeddings: Tensor) -> bool:
    """Return whether the operator of a loss runs the Triton kernels on these embeddings."""
    chosen = cast(Backend, backend)
    return route(loss, use_triton(loss, chosen, TABLES[loss], embeddings), in_operator=True) == "kernels"
