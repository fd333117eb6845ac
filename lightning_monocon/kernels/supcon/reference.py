# SPDX-License-Identifier: Apache-2.0
r"""The supervised contrastive loss as the paper writes it (Khosla et al. 2020, equation 2), with all N x N pairs.

    s_ij = z_i . z_j / T,   A(i) = {j : j != i},   P(i) = {j in A(i) : y_j = y_i}
    loss = mean_i (log sum_{j in A(i)} exp s_ij - mean_{p in P(i)} s_ip)

Ordinary autograd differentiates it, to any order and in any mode. `streamed` and `kernel` are tested against it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.positives import refuse_singletons, valid_rows
from lightning_monocon.kernels.supcon.unit import differentiable_rows


def supcon_reference(embeddings: Tensor, labels: Tensor, temperature: Tensor, options: Options) -> Tensor:
    """Return the loss of ``(N, D)`` embeddings, 0-d, in the dtype of the temperature; on one rank."""
    with torch.autocast(embeddings.device.type, enabled=False):
        z = differentiable_rows(embeddings, temperature.dtype, options.normalize)
        valid = valid_rows(labels, options)
        candidates = valid & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
        positives = candidates & (labels[:, None] == labels)
        if options.singletons == "error":
            refuse_singletons(labels, valid & ~positives.any(1))
        return mean_loss(z @ z.T / temperature, candidates, positives, valid, options)


def mean_loss(logits: Tensor, candidates: Tensor, positives: Tensor, valid: Tensor, options: Options) -> Tensor:
    """Return the mean over valid anchors of ``log sum_{j in A(i)} exp s_ij - mean_{p in P(i)} s_ip``."""
    counts = valid & positives.any(1)
    averaged = (counts if options.singletons == "skip" else valid).sum().clamp_min(1)
    share = positives.sum(1).clamp_min(1).to(logits.dtype).reciprocal()
    pulled = torch.where(positives, logits, 0).sum(1) * share
    # an anchor that does not count may have no candidate: -inf alone would give its row a NaN for a gradient
    pushed = logits.masked_fill(~candidates, -math.inf).masked_fill(~counts[:, None], 0).logsumexp(1)
    return torch.where(counts, pushed - pulled, 0).sum() / averaged
