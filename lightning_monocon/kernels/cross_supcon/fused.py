# SPDX-License-Identifier: Apache-2.0
"""Compute the loss between two sets, and its gradients, on Triton kernels. Imports Triton.

Positives come from class sums, so tiles do not compare labels; if a label is ignored, they read a validity id. A chunk
of W (rows of A in the kernels' notation, ROW only) is written once and multiplied by both sides. The formulas are those
of `streamed`; the scale of an anchor is 1 / S, or log2 S if the logits are not bounded.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.kernels.cross_supcon.terms import CrossTerms, pull_of_anchors, push_of_rows
from lightning_monocon.kernels.dispatch import on_device
from lightning_monocon.kernels.supcon import launch
from lightning_monocon.kernels.supcon.fused import unit_or_raw_rows
from lightning_monocon.kernels.supcon.launch_rows import unit_rows_backward
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.shapes import dot_precision, tile_dtype

Sides = tuple[Tensor, Tensor]
"""One tensor of the anchors, one of the contrast set."""


def forward(
    embeddings: Sides, labels: Sides, terms: CrossTerms, temperature: Tensor, options: Options
) -> tuple[Tensor, Sides, Sides, Tensor]:
    """Return the loss, the unit rows of both sides, their r, and the scale of the anchors."""
    dtype = tile_dtype(options)
    with on_device(embeddings[0]), torch.autocast(embeddings[0].device.type, enabled=False):
        (z, r_z), (c, r_c) = (unit_or_raw_rows(side, dtype, options) for side in embeddings)
        cosine = (z * pull_of_anchors(c.float(), terms.ids, terms.share)).sum(1)
        found = launch.statistics(_pairs((z, c), labels, temperature, options), cosine, (terms.share > 0).float())
    return found.loss.sum() / terms.averaged, (z, c), (r_z, r_c), found.scale


def backward(
    grad: Tensor, unit: Sides, r: Sides, scale: Tensor, terms: CrossTerms, labels: Sides, temperature: Tensor,
    options: Options, needs_contrast: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:  # fmt: skip
    """Return the gradients of anchors, contrast set (None if not needed), both float32, and temperature."""
    z, c = unit
    factor = launch.HALF_SCALE if z.dtype == torch.float16 else 1.0
    _, share, averaged = terms
    with on_device(z), torch.autocast(z.device.type, enabled=False):
        dz = pull_of_anchors(c.float(), terms.ids, share).mul_(-factor)
        dc = push_of_rows(z.float(), terms.ids, share).mul_(-factor) if needs_contrast else None
        weights = launch.Weights(scale, scale, share, factor, roles=(True, False))
        launch.add_gradients_between(_pairs(unit, labels, temperature, options), weights, dz, dc)
        rest = (grad.float(), temperature, averaged, 1 / factor, options.normalize)
        by_anchors, half = unit_rows_backward(dz, z, r[0], *rest)
        by_contrast = None if dc is None else unit_rows_backward(dc, c, r[1], *rest)[0]
    return by_anchors, by_contrast, 2 * half  # one set counts every pair twice, two sets once


def _pairs(unit: Sides, labels: Sides, temperature: Tensor, options: Options) -> launch.Pairs:
    (z, c), (own, others) = unit, (_validity(side, options) for side in labels)
    ignore = options.ignore_index is not None
    variant = launch.Variant(False, ignore, options.bounded, dot_precision(options))
    return launch.Pairs(z, c, own, others, temperature, len(c), variant)


def _validity(labels: Tensor, options: Options) -> Tensor:
    """Return -1 for ignored rows and 0 for others, int32; empty, and never read, if no label is ignored."""
    if options.ignore_index is None:
        return labels.new_empty(0, dtype=torch.int32)
    return -(labels == options.ignore_index).to(torch.int32)
