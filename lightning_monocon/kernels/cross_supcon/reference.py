# SPDX-License-Identifier: Apache-2.0
r"""The loss between two sets written out: the readable twin of `streamed` and `fused`.

    s_ij = z_i . c_j / T,   P(i) = {j : y_j = y_i},   loss = mean_i (log sum_j exp s_ij - mean_{p in P(i)} s_ip)

over anchors z: (M, D) and the contrast set c: (N, D). Ordinary autograd, of any order and in any mode, and O(M N)
memory: it serves where the streamed ways cannot, inside transforms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_monocon.kernels.cross_supcon.terms import cross_terms
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.unit import differentiable_unit_rows


def cross_reference(
    anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor, temperature: Tensor,
    options: Options,
) -> Tensor:  # fmt: skip
    """Return the loss, 0-d, in the dtype of the temperature; arguments as in `cross_supcon`."""
    terms = cross_terms(anchor_labels, contrast_labels, options)
    with torch.autocast(anchors.device.type, enabled=False):
        z, c = anchors.to(temperature.dtype), contrast.to(temperature.dtype)
        if options.normalize:
            z, c = differentiable_unit_rows(z), differentiable_unit_rows(c)
        logits = z @ c.T / temperature
        same = anchor_labels[:, None] == contrast_labels[None]
        share = terms.share.to(logits.dtype)
        pulled = torch.where(same, logits, 0).sum(1) * share
        if options.ignore_index is not None:
            logits = logits.masked_fill(contrast_labels == options.ignore_index, -math.inf)
        counts = share > 0  # rows that do not count may hold nothing but -inf, whose gradient is NaN
        pushed = torch.where(counts[:, None], logits, 0).logsumexp(1)
        return torch.where(counts, pushed - pulled, 0).sum() / terms.averaged.to(logits.dtype)
