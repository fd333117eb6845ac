# SPDX-License-Identifier: Apache-2.0
r"""The losses of pairs as their papers write them, with all N x N pairs of rows.

    s_ij = z_i . c_j / T                                             z: the first side, c: the second
    CLIP     (Radford et al. 2021)  mean_i ((log sum_j exp s_ij + log sum_j exp s_ji) / 2 - s_ii)
    SigLIP   (Zhai et al. 2023)     -(1 / N) sum_ij log sigmoid(y_ij (s_ij + b)),   y_ii = 1, else -1

Ordinary autograd differentiates them, to any order and in any mode. `symmetric` and `sigmoid` are tested against them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.unit import differentiable_rows


def clip_reference(first: Tensor, second: Tensor, temperature: Tensor, options: Options) -> Tensor:
    """Return the loss of N pairs of rows, 0-d, in the dtype of the temperature; on one rank."""
    logits = _logits(first, second, temperature, options)
    if not len(logits):
        return logits.sum()
    return ((logits.logsumexp(1) + logits.logsumexp(0)) / 2 - logits.diagonal()).mean()


def siglip_reference(first: Tensor, second: Tensor, temperature: Tensor, bias: Tensor, options: Options) -> Tensor:
    """Return the loss of N pairs of rows, 0-d, in the dtype of the temperature; on one rank."""
    logits = _logits(first, second, temperature, options) + bias
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum() / max(len(logits), 1)


def _logits(first: Tensor, second: Tensor, temperature: Tensor, options: Options) -> Tensor:
    with torch.autocast(first.device.type, enabled=False):
        z, c = (differentiable_rows(side, temperature.dtype, options.normalize) for side in (first, second))
        return z @ c.T / temperature
