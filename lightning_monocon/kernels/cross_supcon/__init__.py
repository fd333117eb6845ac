# SPDX-License-Identifier: Apache-2.0
"""The supervised contrastive loss between two different sets: one function, and the switch between its ways."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lightning_monocon.kernels.cross_supcon.ops import cross_operator
from lightning_monocon.kernels.cross_supcon.reference import cross_supcon_reference
from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.route import find_route
from lightning_monocon.kernels.supcon.shapes import block_size, is_bounded, wide_dtype


def cross_supcon(
    anchors: Tensor,
    contrast: Tensor,
    anchor_labels: Tensor,
    contrast_labels: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    options: Options | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Return the mean loss of anchors among a contrast set; `lightning_monocon.losses.CrossSupConLoss` has the formula.

    The arguments are taken as valid here; the module checks them. float16 and bfloat16 are taken to float32. Inside
    the transforms of `torch.func`, in forward mode, and for a few pairs on a CPU it is the formula itself, with its
    matrix of all pairs.

    Args:
        anchors: ``(M, D)``.
        contrast: ``(N, D)``; without a gradient (a memory bank) its half of the backward pass is left out.
        anchor_labels: Integers, ``(M,)``.
        contrast_labels: Integers, ``(N,)``.
        temperature: T > 0; a 0-d tensor gets its gradient.
        options: How the loss is taken; None for the defaults of `CrossSupConLoss`. `Options.bounded` is found here,
            and `Options.gather` is not for two sets.
        backend: Which implementation.

    Returns:
        0-d, float64 for float64 anchors and float32 for all others.

    Raises:
        ValueError: If `backend` cannot serve these tensors.
        RuntimeError: If ``backend="triton"`` and Triton is not installed.

    Example:
        >>> eye = torch.eye(2)
        >>> cross_supcon(eye, eye, torch.tensor([0, 1]), torch.tensor([0, 1]), temperature=1.0)
        tensor(0.3133)
    """
    scale = torch.as_tensor(temperature, dtype=wide_dtype(anchors.dtype), device=anchors.device)
    chosen = options or Options(block_size=block_size(anchors.device))
    chosen = replace(chosen, bounded=is_bounded(temperature, chosen.normalize))
    labels = anchor_labels.long(), contrast_labels.long()
    pairs = anchors.shape[0] * contrast.shape[0]
    if find_route("cross_supcon", backend, anchors, contrast, scale, pairs=pairs) == "formula":
        return cross_supcon_reference(anchors, contrast, *labels, scale, chosen)
    return cross_operator(anchors, contrast, *labels, scale, chosen, backend)
