# SPDX-License-Identifier: Apache-2.0
"""Compute the loss and its gradients on Triton kernels, on one rank or several. Imports Triton.

On one rank the anchors are all rows, and half of the tiles suffice. On several, each rank compares its anchors with the
gathered rows (z in the tile dtype, so half the bytes in float16), and gathers one float per row, the scale, for the
backward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.kernels.dispatch import on_device
from lightning_monocon.kernels.supcon import launch
from lightning_monocon.kernels.supcon.launch_rows import unit_rows, unit_rows_backward
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.positives import anchor_terms, class_ids, positive_counts, refuse_singletons
from lightning_monocon.kernels.supcon.shapes import dot_precision, tile_dtype


class Residuals(NamedTuple):
    """Hold what the backward pass needs, for M anchors of this rank and N rows of all ranks."""

    z: Tensor
    """``(M, D)`` in the tile dtype."""
    rows: Tensor
    """``(N, D)``; `z` itself on one rank."""
    r: Tensor
    """``(M,)``."""
    ids: Tensor
    """``(N,)`` int32 if labels are compared, else ``(0,)``."""
    scale: Tensor
    """``(N,)``."""
    share: Tensor
    """``(M,)``."""
    pull: Tensor
    """``(M, D)`` float32, the mean positives, if labels are not compared, else ``(0, D)``."""
    averaged: Tensor
    """0-d float32."""


def forward(embeddings: Tensor, labels: Tensor, temperature: Tensor, options: Options) -> tuple[Tensor, Residuals]:
    """Return the loss over the rows of all ranks, 0-d float32, and the residuals."""
    dtype = tile_dtype(options)
    with on_device(embeddings), torch.autocast(embeddings.device.type, enabled=False):
        z, r = unit_or_raw_rows(embeddings, dtype, options)
        return _forward(z, r, labels, temperature, options)


def _forward(z: Tensor, r: Tensor, labels: Tensor, temperature: Tensor, options: Options) -> tuple[Tensor, Residuals]:
    gather = options.gather
    rows = z if gather is None else gather(z)
    labels = labels if gather is None else gather(labels)
    if options.compare:
        ids = _ids(labels, options)
        found = launch.statistics(_pairs(z, rows, ids, temperature, options))
        pull = z.new_empty((0, z.shape[1]), dtype=torch.float32)
        averaged = _averaged(labels, ids, found.share, options)
    else:
        own = slice(options.start, options.start + len(z))
        terms = anchor_terms(rows.float(), labels, own, options)
        pull, averaged = terms.mean_positive, terms.averaged
        ids = labels.new_empty(0, dtype=torch.int32)
        cosine = (z * pull).sum(1)
        found = launch.statistics(_pairs(z, rows, ids, temperature, options), cosine, terms.paired)
    loss, scale = found.loss.sum(), found.scale
    if gather is not None:
        loss, scale = gather.sum(loss), gather(scale)
    return loss / averaged, Residuals(z, rows, r, ids, scale, found.share, pull, averaged)


def backward(grad: Tensor, temperature: Tensor, residuals: Residuals, options: Options) -> tuple[Tensor, Tensor]:
    """Return the gradients of this rank's embeddings, ``(M, D)`` float32, and of the temperature, 0-d."""
    z, rows, r, ids, scale, share, pull, averaged = residuals
    factor = launch.HALF_SCALE if z.dtype == torch.float16 else 1.0
    dz = pull * (-2 * factor) if len(pull) else torch.zeros_like(z, dtype=torch.float32)
    own = scale[options.start : options.start + len(z)]
    with on_device(z), torch.autocast(z.device.type, enabled=False):
        launch.add_gradient(_pairs(z, rows, ids, temperature, options), launch.Weights(own, scale, share, factor), dz)
        scaled = options.ranks / factor
        return unit_rows_backward(dz, z, r, grad.float(), temperature, averaged, scaled, options.normalize)


def _pairs(z: Tensor, rows: Tensor, ids: Tensor, temperature: Tensor, options: Options) -> launch.Pairs:
    variant = launch.Variant(
        labels=options.compare,
        ignore=options.ignore_index is not None,
        bounded=options.bounded,
        precision=dot_precision(options),
    )
    own_ids = ids[options.start : options.start + len(z)]
    return launch.Pairs(z, rows, own_ids, ids, temperature, options.start, variant)


def unit_or_raw_rows(embeddings: Tensor, dtype: torch.dtype, options: Options) -> tuple[Tensor, Tensor]:
    """Return z ``(M, D)`` and r ``(M,)``; without normalisation z is the embeddings in float32."""
    if options.normalize:
        return unit_rows(embeddings, dtype)
    # a copy: an operator may not return its input
    return embeddings.to(torch.float32, copy=True).contiguous(), embeddings.new_ones(len(embeddings)).float()


def _ids(labels: Tensor, options: Options) -> Tensor:
    ids = class_ids(labels).to(torch.int32)
    return ids if options.ignore_index is None else ids.masked_fill_(labels == options.ignore_index, -1)


def _averaged(labels: Tensor, ids: Tensor, share: Tensor, options: Options) -> Tensor:
    """Return the number of anchors of all ranks that the mean is over, at least 1."""
    if options.singletons == "error":
        others = positive_counts(ids.clamp_min(0).long())
        refuse_singletons(labels, (ids >= 0) & (others == 0))
    if options.singletons == "skip":
        count = (share > 0).sum().float()
        count = count if options.gather is None else options.gather.sum(count)
    elif options.ignore_index is None:
        return torch.full((), max(len(ids), 1), dtype=torch.float32, device=ids.device)
    else:
        count = (ids >= 0).sum().float()
    return count.clamp_min(1)
