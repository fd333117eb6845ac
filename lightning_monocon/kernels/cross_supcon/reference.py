# SPDX-License-Identifier: Apache-2.0
r"""The supervised contrastive loss of anchors among another set, with the matrix of all M x N pairs.

    s_ij = z_i . c_j / T,   P(i) = {j : y_j = y_i}
    loss = mean_i (log sum_j exp s_ij - mean_{p in P(i)} s_ip)

Ordinary autograd differentiates it, to any order and in any mode. `streamed` and `fused` are tested against it, and it
serves where they cannot (inside transforms) or would be slower (few pairs on a CPU).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.kernels.cross_supcon.terms import refuse_anchors_alone
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.positives import valid_rows
from lightning_monocon.kernels.supcon.reference import mean_loss
from lightning_monocon.kernels.supcon.unit import differentiable_rows


def cross_supcon_reference(
    anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor, temperature: Tensor,
    options: Options,
) -> Tensor:  # fmt: skip
    """Return the loss of ``(M, D)`` anchors among ``(N, D)`` rows, 0-d, in the dtype of the temperature."""
    with torch.autocast(anchors.device.type, enabled=False):
        z, c = (differentiable_rows(side, temperature.dtype, options.normalize) for side in (anchors, contrast))
        valid, candidates = valid_rows(anchor_labels, options), valid_rows(contrast_labels, options)
        positives = candidates & (anchor_labels[:, None] == contrast_labels)
        if options.singletons == "error":
            refuse_anchors_alone(anchor_labels, valid & ~positives.any(1))
        return mean_loss(z @ c.T / temperature, candidates, positives, valid, options)
