# SPDX-License-Identifier: Apache-2.0
r"""Compute the loss between two sets on a CPU, and keep the exponentials for the backward pass.

Formulas and symbols are those of `streamed`. The factor a_i of ``W_ij = exp(s_ij) a_i`` is taken out of both products,
so that the backward pass reads the kept tiles and writes nothing of their size. A few pairs are one tile, whose
gradients are taken at once and which is not kept. `lightning_monocon.kernels.supcon.kept`
does the same for one set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.kernels.context import Context
from lightning_monocon.kernels.cross_supcon.terms import refuse_anchors_alone
from lightning_monocon.kernels.supcon.checks import check_values
from lightning_monocon.kernels.supcon.kept import (
    arithmetic,
    dense_product,
    fits,
    quick_through_unit_,
    quick_unit_rows,
    refuse_to_differentiate,
    tile_shape,
)
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.tiles import LOG2_E


def serves(anchors: Tensor, contrast: Tensor, labels: tuple[Tensor, Tensor], options: Options) -> bool:
    """Return whether a call fits: on a CPU, without ignored rows, and few enough pairs to keep."""
    pairs = anchors.shape[0] * contrast.shape[0]
    return pairs > 0 and fits(pairs, options, anchors, contrast, *labels)


def cross_supcon_kept(
    anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor, temperature: Tensor,
    options: Options,
) -> Tensor:  # fmt: skip
    """Return the loss, differentiable once by reverse mode; the arguments are those of `cross_supcon_reference`."""
    few = len(anchors) * len(contrast) <= ONE_TILE
    if not few:
        return _kept(anchors, contrast, anchor_labels, contrast_labels, temperature, options)
    wanted = torch.is_grad_enabled() and (anchors.requires_grad or contrast.requires_grad or temperature.requires_grad)
    return _one_tile(anchors, contrast, anchor_labels, contrast_labels, temperature, options, wanted)


ONE_TILE = 2**16
"""Pairs up to which there is one tile, of which the forward pass takes the gradients too: calls are what costs then."""


class Pulls(NamedTuple):
    """Hold what the labels determine; symbols as in `terms`."""

    weight: Tensor
    """``(M,)``, the weight of each anchor in the mean."""
    pull: Tensor
    """``(M, D)``, weight times mu, divided by `share`."""
    push: Tensor
    """``(N, D)``, from weighted shares, divided by `share`."""
    share: float = 1.0


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context, anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor,
        temperature: Tensor, options: Options,
    ) -> Tensor:  # fmt: skip
        with arithmetic():
            z, r_z, ordinary_z = _unit(anchors.detach(), len(anchors), temperature, options)
            c, r_c, ordinary_c = _unit(contrast.detach(), 0, temperature, options)
            weight, pull, push, share = _pulls(z, c, (anchor_labels, contrast_labels), options)
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
    """Take both sides as one matrix, to halve the calls."""

    @staticmethod
    def forward(
        ctx: Context, anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor,
        temperature: Tensor, options: Options, wanted: bool,
    ) -> Tensor:  # fmt: skip
        count, number = len(anchors), float(temperature)  # calls with a number are cheaper than with a tensor
        with arithmetic():
            rows, r, ordinary = _unit(torch.cat([anchors.detach(), contrast.detach()]), count, temperature, options)
            z, c = rows[:count], rows[count:]
            weight, pull, push, share = _pulls(z, c, (anchor_labels, contrast_labels), options)
            tile = torch.addmm(z.new_empty(()), z, c.T, beta=0, alpha=LOG2_E / number).exp2_()
            sums = tile.sum(1)
            loss = torch.dot(weight, sums.log()) - torch.dot(z.flatten(), pull.flatten()) * (share / number)
            if wanted:
                tile.mul_((weight / sums).unsqueeze(1))
                gradient = torch.empty_like(rows if ctx.needs_input_grad[1] else z)
                dz = torch.addmm(pull, tile, c, beta=-share, out=gradient[:count])
                along = [torch.dot(dz.flatten(), z.flatten())] if ctx.needs_input_grad[4] else []
                if ctx.needs_input_grad[1]:
                    torch.addmm(push, tile.T, z, beta=-share, out=gradient[count:])
                quick_through_unit_(gradient, rows[: len(gradient)], r[: len(gradient)], ordinary)
                ctx.save_for_backward(anchors, contrast, temperature, gradient, *along)
        return loss

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        anchors, contrast, temperature, gradient, *along = ctx.saved_tensors
        count = len(anchors)
        with arithmetic():
            factor = grad / temperature
            gradient = gradient * factor
            by_anchors, by_contrast = gradient[:count].to(anchors.dtype), None
            if len(gradient) > count:
                by_contrast = gradient[count:].to(contrast.dtype)
            by_temperature = along[0] * factor / -temperature if along else None
        if torch.is_grad_enabled():  # a second derivative is wanted
            by_anchors = refuse_to_differentiate(by_anchors, anchors)
            by_contrast = None if by_contrast is None else refuse_to_differentiate(by_contrast, contrast)
        return by_anchors, by_contrast, None, None, by_temperature, None, None


_kept: Callable[..., Tensor] = _Kept.apply
_one_tile: Callable[..., Tensor] = _OneTile.apply


def _unit(rows: Tensor, anchors: int, temperature: Tensor, options: Options) -> tuple[Tensor, Tensor, bool]:
    """Do what `quick_unit_rows` does; on request refuse rows, the anchors of which come first, without a direction."""
    found = quick_unit_rows(rows, temperature.dtype)
    if options.check_values and not found[2]:
        check_values(rows[:anchors], True, "anchors")
        check_values(rows[anchors:], True, "contrast")
    return found


def _pulls(z: Tensor, c: Tensor, labels: tuple[Tensor, Tensor], options: Options) -> Pulls:
    same = labels[0].shape == labels[1].shape and torch.equal(*labels)
    if same and len(set(labels[0].tolist())) == len(z):  # each row has one positive, its twin
        return Pulls(z.new_full((len(z),), 1 / len(z)), c, z, 1 / len(z))
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
    return Pulls(weight, pull, push)


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
    # transposed, because the product of a transposed tile would first copy the tile
    by_rows = c.new_zeros((c.shape[1], c.shape[0])) if needs_contrast else None
    weighted = z * scale
    for (rows, columns), tile in zip(pieces(len(z), len(c), options), kept, strict=True):
        by_anchors[rows] += dense_product(tile, c[columns])
        if by_rows is not None:
            by_rows[:, columns] += dense_product(weighted[rows].T.contiguous(), tile)
    return by_anchors.mul_(scale), None if by_rows is None else by_rows.T.contiguous()
