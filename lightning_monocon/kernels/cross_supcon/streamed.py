# SPDX-License-Identifier: Apache-2.0
r"""Compute the loss between two sets in plain torch, one tile of pairs at a time.

Forward:   S_i = sum_j exp s_ij,   loss = sum_i [i counts] (log S_i - z_i . mu_i / T) / averaged
Backward:  W_ij = exp(s_ij) a_i,  a_i = [i counts] / S_i     = exp(s_ij - b_i),  b_i = log S_i, if exp may overflow
           dz_i = h (sum_j W_ij c_j - mu_i),   dc_j = h (sum_i W_ij z_i - push_j),   h = g / (T averaged)
           dT   = -(1 / T) sum_i dz_i . z_i
Saved:     z, c, ids, a or b, shares. The backward pass computes each tile of W again, once for both sides: 2 M N D
           operations forward and 6 M N D backward, or 4 M N D if the contrast set has no gradient.
Kept:      if exp s has at most `KEEP_UP_TO` numbers, it is saved and not computed again: two sets have no symmetry that
           would make up for the recomputation, and for small ones torch's own formula would be faster.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_monocon.kernels.cross_supcon.terms import CrossTerms, pull_of_anchors, push_of_rows
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.tiles import PairTiles, denominators

KEEP_UP_TO = 2**22
"""Pairs whose exponentials are kept for the backward pass: 16 MB of float32."""


def pair_tiles(z: Tensor, c: Tensor, temperature: Tensor, labels: tuple[Tensor, Tensor], options: Options) -> PairTiles:
    """Return the tiles of anchors and contrast rows; the anchors are numbered behind the rows, so all pairs count."""
    ignored = None if options.ignore_index is None else torch.cat(labels[::-1]) == options.ignore_index
    return PairTiles(z, c, len(c), temperature, ignored, options.block_size, options.bounded)


def forward(pairs: PairTiles, terms: CrossTerms, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, a or b ``(M,)``, and exp s, ``(M, N)`` or, if it is not kept, ``(0, 0)``, without gradients."""
    z, c, share = pairs.anchors, pairs.rows, terms.share
    counts = share > 0
    kept = _exponentials(pairs) if keep else z.new_empty((0, 0))
    sums = kept.sum(1) if keep else denominators(pairs)
    scale = torch.where(counts, sums.reciprocal() if pairs.bounded else sums, 0.0 if pairs.bounded else math.inf)
    log_sums = sums.log() if pairs.bounded else sums
    pulled = (z * pull_of_anchors(c, terms.ids, share)).sum(1) / pairs.temperature
    return torch.where(counts, log_sums - pulled, 0).sum() / terms.averaged, scale, kept


def _exponentials(pairs: PairTiles) -> Tensor:
    """Return exp s, ``(M, N)``, as one tile."""
    shape = len(pairs.anchors), len(pairs.rows)
    whole = pairs._replace(block_size=max(*shape, 1))
    return next((tile.exp2_() for *_, tile in whole()), pairs.rows.new_zeros(shape))


def backward(
    grad: Tensor, pairs: PairTiles, terms: CrossTerms, scale: Tensor, kept: Tensor, needs_contrast: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return dz, dc (None if not needed) and dT."""
    z, c, share = pairs.anchors, pairs.rows, terms.share
    dz, dc = _pushes(pairs, scale.unsqueeze(1), kept, needs_contrast)
    dz.sub_(pull_of_anchors(c, terms.ids, share))
    factor = grad / (pairs.temperature * terms.averaged)
    dz.mul_(factor)
    dc = None if dc is None else dc.sub_(push_of_rows(z, terms.ids, share)).mul_(factor)
    return dz, dc, (dz * z).sum() / -pairs.temperature


def _pushes(pairs: PairTiles, own: Tensor, kept: Tensor, needs_contrast: bool) -> tuple[Tensor, Tensor | None]:
    """Return ``sum_j W_ij c_j`` and ``sum_i W_ij z_i``."""
    z, c = pairs.anchors, pairs.rows
    dz, dc = torch.zeros_like(z), torch.zeros_like(c) if needs_contrast else None
    if kept.numel():
        pairs.add_product(dz, kept, c)
        if dc is not None:
            pairs.add_product(dc, kept.T, z * own)
        return dz.mul_(own), dc
    for rows, columns, _, tile in pairs():
        weight = tile.exp2_().mul_(own[rows]) if pairs.bounded else tile.sub_(own[rows]).exp_()
        pairs.add_product(dz[rows], weight, c[columns])
        if dc is not None:
            pairs.add_product(dc[columns], weight.T, z[rows])
    return dz, dc
