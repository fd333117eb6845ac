# SPDX-License-Identifier: Apache-2.0
r"""Compute the loss between two sets on a CPU, and keep the exponentials for the backward pass.

Formulas and symbols are those of `streamed`. The factor a_i of ``W_ij = exp(s_ij) a_i`` is taken out of both products,
so that the backward pass reads the kept tiles and writes nothing of their size. A few pairs are one tile, whose
gradients are taken at once and which is not kept. `lightning_monocon.kernels.supcon.kept`
does the same for one set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lightning_monocon.kernels.context import Context
from lightning_monocon.kernels.cross_supcon.terms import refuse_anchors_alone
from lightning_monocon.kernels.supcon.checks import check_values
from lightning_monocon.kernels.supcon.kept import (
    arithmetic,
    fits,
    quick_through_unit_,
    quick_unit_rows,
    refuse_to_differentiate,
    tile_shape,
)
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.products import ColumnSums, add_product, dense_product
from lightning_monocon.kernels.supcon.shapes import as_scale, wide_dtype
from lightning_monocon.kernels.supcon.tiles import LOG2_E


def serves(anchors: Tensor, contrast: Tensor, labels: tuple[Tensor, Tensor], options: Options) -> bool:
    """Return whether a call with small logits fits: on a CPU, without ignored rows, and few enough pairs to keep."""
    pairs = anchors.size(0) * contrast.size(0)
    return pairs > 0 and fits(pairs, options, anchors, contrast, *labels)


def cross_supcon_kept(
    anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor, temperature: float | Tensor,
    options: Options,
) -> Tensor:  # fmt: skip
    """Return the loss, differentiable once by reverse mode; the arguments are those of `cross_supcon_reference`."""
    is_tensor = isinstance(temperature, Tensor)
    if anchors.size(0) * contrast.size(0) > ONE_TILE:
        return _kept(anchors, contrast, anchor_labels, contrast_labels, as_scale(temperature, anchors), options)
    given = as_scale(temperature, anchors) if is_tensor else temperature
    wanted = anchors.requires_grad or contrast.requires_grad or (isinstance(given, Tensor) and given.requires_grad)
    wanted = wanted and torch.is_grad_enabled()
    return _one_tile(anchors, contrast, anchor_labels, contrast_labels, given, options, wanted)


ONE_TILE = 2**16
"""Pairs up to which there is one tile, of which the forward pass takes the gradients too: calls are what costs then."""


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context, anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor,
        temperature: Tensor, options: Options,
    ) -> Tensor:  # fmt: skip
        with arithmetic():
            z, r_z, ordinary_z = _unit(anchors.detach(), len(anchors), temperature.dtype, options)
            c, r_c, ordinary_c = _unit(contrast.detach(), 0, temperature.dtype, options)
            share = 1 / len(z) if _is_paired(anchor_labels, contrast_labels) else 1.0
            if share < 1:  # each row has one positive
                weight, pull, push = z.new_full((len(z),), share), c, z
            else:
                weight, pull, push = _pulls(z, c, (anchor_labels, contrast_labels), options)
            sums, kept = _exponentials(z, c, temperature, options)
            loss = torch.dot(weight, sums.log()) - share * (z * pull).sum() / temperature
        ctx.options, ctx.ordinary, ctx.share = options, (ordinary_z, ordinary_c), share
        ctx.save_for_backward(anchors, contrast, temperature, z, c, r_z, r_c, weight / sums, pull, push, *kept)
        return loss

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        anchors, contrast, temperature, z, c, r_z, r_c, scale, pull, push, *kept = ctx.saved_tensors
        with arithmetic():
            dz, dc = _pushes(z, c, scale.unsqueeze(1), kept, ctx.options, ctx.needs_input_grad[1])
            factor = grad / temperature
            dz.sub_(pull, alpha=ctx.share).mul_(factor)
            by_temperature = (dz * z).sum() / -temperature if ctx.needs_input_grad[4] else None
            by_anchors = quick_through_unit_(dz, z, r_z, ctx.ordinary[0]).to(anchors.dtype)
            by_contrast = None
            if dc is not None:
                dc.sub_(push, alpha=ctx.share).mul_(factor)
                by_contrast = quick_through_unit_(dc, c, r_c, ctx.ordinary[1]).to(contrast.dtype)
        if torch.is_grad_enabled():  # a second derivative is wanted
            by_anchors = refuse_to_differentiate(by_anchors, anchors)
            by_contrast = None if by_contrast is None else refuse_to_differentiate(by_contrast, contrast)
        return by_anchors, by_contrast, None, None, by_temperature, None


class _OneTile(torch.autograd.Function):
    """Take both sides as one matrix, to halve the calls, and numbers where a tensor would cost more."""

    @staticmethod
    def forward(
        ctx: Context, anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor,
        temperature: float | Tensor, options: Options, wanted: bool,
    ) -> Tensor:  # fmt: skip
        count, number, dtype = anchors.size(0), float(temperature), wide_dtype(anchors.dtype)
        with arithmetic():
            rows, r, ordinary = _unit(torch.cat([anchors, contrast]), count, dtype, options)
            z, c = rows.narrow(0, 0, count), rows.narrow(0, count, contrast.size(0))
            tile = torch.addmm(_UNREAD[dtype], z, c.T, beta=0, alpha=LOG2_E / number).exp2_()
            sums = tile.sum(1, keepdim=True)
            if _is_paired(anchor_labels, contrast_labels):
                pull, push, share = c, z, 1 / count
                loss, scale = (sums.view(-1) / tile.diagonal()).log_().mean(), share
            else:
                weight, pull, push = _pulls(z, c, (anchor_labels, contrast_labels), options)
                loss, scale, share = torch.dot(weight, sums.log().view(-1)), 1.0, 1.0
                loss -= torch.dot(z.view(-1), pull.view(-1)) / number
                sums = sums.div_(weight.view(-1, 1))  # infinite for anchors that do not count
            if wanted:
                tile.div_(sums)
                gradient = torch.empty_like(rows if (both := ctx.needs_input_grad[1]) else z)
                dz = gradient.narrow(0, 0, count)
                share, scale = share / number, scale / number
                torch.addmm(pull, tile, c, beta=-share, alpha=scale, out=dz)
                along = [torch.dot(dz.view(-1), z.view(-1))] if ctx.needs_input_grad[4] else []
                if both:
                    dc = gradient.narrow(0, count, contrast.size(0))
                    torch.addmm(push, tile.T, z, beta=-share, alpha=scale, out=dc)
                quick_through_unit_(gradient, rows if both else z, r if both else r.narrow(0, 0, count), ordinary)
                ctx.number = number
                ctx.save_for_backward(anchors, contrast, gradient, *along)
        return loss

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        anchors, contrast, gradient, *along = ctx.saved_tensors
        count = anchors.size(0)
        with arithmetic():
            gradient = gradient * grad
            by_anchors, by_contrast = gradient.narrow(0, 0, count).to(anchors.dtype), None
            if gradient.size(0) > count:
                by_contrast = gradient.narrow(0, count, contrast.size(0)).to(contrast.dtype)
            by_temperature = along[0] * grad / -ctx.number if along else None
        if torch.is_grad_enabled():  # a second derivative is wanted
            by_anchors = refuse_to_differentiate(by_anchors, anchors)
            by_contrast = None if by_contrast is None else refuse_to_differentiate(by_contrast, contrast)
        return by_anchors, by_contrast, None, None, by_temperature, None, None


_UNREAD = {dtype: torch.empty((), dtype=dtype) for dtype in (torch.float32, torch.float64)}
"""What `addmm` multiplies by 0 and does not read."""

_kept: Callable[..., Tensor] = _Kept.apply
_one_tile: Callable[..., Tensor] = _OneTile.apply


def _unit(rows: Tensor, anchors: int, dtype: torch.dtype, options: Options) -> tuple[Tensor, Tensor, bool]:
    """Do what `quick_unit_rows` does; on request refuse rows, the anchors of which come first, without a direction."""
    found = quick_unit_rows(rows, dtype)
    if options.check_values and not found[2]:
        check_values(rows[:anchors], True, "anchors")
        check_values(rows[anchors:], True, "contrast")
    return found


def _is_paired(anchor_labels: Tensor, contrast_labels: Tensor) -> bool:
    """Return whether each row has one positive, its twin."""
    if anchor_labels is not contrast_labels:
        if anchor_labels.shape != contrast_labels.shape or not torch.equal(anchor_labels, contrast_labels):
            return False
    return len(set(anchor_labels.tolist())) == anchor_labels.size(0)


def _pulls(z: Tensor, c: Tensor, labels: tuple[Tensor, Tensor], options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights of the anchors in the mean ``(M,)``, their weighted mu ``(M, D)``, and push ``(N, D)``."""
    same = labels[0].shape == labels[1].shape and torch.equal(*labels)
    _, ids = torch.unique(labels[0] if same else torch.cat(labels), return_inverse=True)
    own, others = (ids, ids) if same else (ids[: len(z)], ids[len(z) :])
    positives = torch.bincount(others, minlength=int(ids.max()) + 1)
    found = positives[own]
    paired = found > 0
    if options.singletons == "error":
        refuse_anchors_alone(labels[0], ~paired)
    averaged = paired.sum().clamp_min(1) if options.singletons == "skip" else len(z)
    weight = paired.to(z.dtype).div_(averaged)
    share = (weight / found.clamp_min(1)).unsqueeze(1)
    pull = z.new_zeros((len(positives), z.shape[1])).index_add_(0, others, c)[own].mul_(share)
    push = z.new_zeros((len(positives), z.shape[1])).index_add_(0, own, z * share)[others]
    return weight, pull, push


def pieces(anchors: int, rows: int, options: Options) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each tile."""
    height, width = tile_shape(options)
    for i in range(0, anchors, height):
        for j in range(0, rows, width):
            yield slice(i, min(i + height, anchors)), slice(j, min(j + width, rows))


def _exponentials(z: Tensor, c: Tensor, temperature: Tensor, options: Options) -> tuple[Tensor, list[Tensor]]:
    """Return ``S_i = sum_j exp s_ij`` ``(M,)``, and ``exp s`` of each tile."""
    left = z * (LOG2_E / temperature)
    sums, kept = z.new_zeros(len(z)), []
    for rows, columns in pieces(len(z), len(c), options):
        tile = dense_product(left[rows], c[columns].T).exp2_()
        sums[rows] += tile.sum(1)
        kept.append(tile)
    return sums, kept


def _pushes(
    z: Tensor, c: Tensor, scale: Tensor, kept: list[Tensor], options: Options, needs_contrast: bool
) -> tuple[Tensor, Tensor | None]:
    """Return ``sum_j W_ij c_j`` ``(M, D)`` and ``sum_i W_ij z_i`` ``(N, D)`` from a ``(M, 1)`` and tiles of exp s."""
    by_anchors = torch.zeros_like(z)
    by_contrast = ColumnSums(torch.zeros_like(c)) if needs_contrast else None
    weighted = z * scale
    for (rows, columns), tile in zip(pieces(len(z), len(c), options), kept, strict=True):
        add_product(by_anchors[rows], tile, c[columns])
        if by_contrast is not None:
            by_contrast.add(columns, tile, weighted[rows])
    return by_anchors.mul_(scale), None if by_contrast is None else by_contrast.finish()
