# SPDX-License-Identifier: Apache-2.0
r"""Compute SigLIP's loss in plain torch, and its gradients in the same pass over the tiles of scores.

Forward:   v_ij = y_ij (z_i . c_j / T + b),   y_ii = 1, else -1
           loss = (1 / N) sum_ij softplus(-v_ij)
Backward:  W_ij = -y_ij sigmoid(-v_ij)
           dz_i = h sum_j W_ij c_j,   dc_j = h sum_i W_ij z_i,   h = g / (N T)
           db   = (g / N) sum_ij W_ij,   dT = -(1 / T) sum_i dz_i . z_i
Saved:     z, c and the gradients without their factor. No pair waits for another one's score, so that the pass that
           computes a tile knows W: nothing is kept, and nothing is computed again. Without a gradient only the loss is
           computed.
Cost:      6 N^2 D operations, in the forward pass; 2 N^2 D without a gradient.
Ranks:     see `sides`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_monocon.kernels.context import Context
from lightning_monocon.kernels.cross_supcon.kept import pieces
from lightning_monocon.kernels.pairs.sides import Side, everyone, own_gradient, returned, total
from lightning_monocon.kernels.supcon.kept import arithmetic
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.products import ColumnSums, add_product, dense_product

LINEAR_FROM = 40.0
"""Value from which softplus is the identity, in float64 too."""


def siglip_streamed(first: Tensor, second: Tensor, temperature: Tensor, bias: Tensor, options: Options) -> Tensor:
    """Return the loss, differentiable once by reverse mode.

    Args:
        first: This rank's rows of the first side, ``(M, D)``.
        second: Their partners, ``(M, D)``.
        temperature: T, 0-d, float32 or float64: the dtype of all arithmetic.
        bias: b, 0-d, in the same dtype.
        options: The rules of the loss.

    Returns:
        The loss over the pairs of all ranks, 0-d, the same on every rank.
    """
    recorded = torch.is_grad_enabled()
    by_second = recorded and second.requires_grad
    by_any = by_second or (recorded and any(x.requires_grad for x in (first, temperature, bias)))
    return _siglip(first, second, temperature, bias, options, (by_any, by_second))


class Found(NamedTuple):
    """Hold what the pass finds; gradients are without their factor, and of no use where they are not needed."""

    loss: Tensor
    """0-d."""
    one: Side
    two: Side
    by_rows: Tensor
    """``(M, D)``."""
    by_columns: Tensor
    """``(N, D)``, the part of this rank; ``(0, D)`` if it is not needed."""
    by_bias: Tensor
    """0-d."""


def forward(
    first: Tensor, second: Tensor, temperature: Tensor, bias: Tensor, options: Options, needed: tuple[bool, bool]
) -> Found:
    """Return the loss, and the gradients if any is needed, that of the second side if it is."""
    one, two = (Side.of(side, temperature.dtype, options) for side in (first, second))
    columns = everyone(two.rows, options)
    loss, *gradients = _pass(one.rows, columns, temperature, bias, options, needed)
    return Found(total(loss, options) / max(len(columns), 1), one, two, *gradients)


def backward(
    grad: Tensor, found: Found, count: int, temperature: Tensor, options: Options, needs_second: bool
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Return the gradients of both sides, of temperature and of bias, from the number N of all pairs."""
    share = grad * options.ranks / max(count, 1)
    dz = found.by_rows * (share / temperature)
    by_temperature = (dz * found.one.rows).sum() / -temperature
    dc = None
    if needs_second:
        dc = own_gradient(found.by_columns, options, len(found.two.rows)) * (share / temperature)
        dc = found.two.back(dc, options)
    return found.one.back(dz, options), dc, by_temperature, share * found.by_bias


class _SigLip(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context, first: Tensor, second: Tensor, temperature: Tensor, bias: Tensor, options: Options,
        needed: tuple[bool, bool],
    ) -> Tensor:  # fmt: skip
        with arithmetic():
            loss, one, two, *gradients = forward(first, second, temperature, bias, options, needed)
        ctx.options, ctx.ordinary = options, (one.ordinary, two.ordinary)
        ctx.count = len(first) if options.gather is None else sum(options.gather.counts)
        ctx.save_for_backward(first, second, temperature, *one[:2], *two[:2], *gradients)
        return loss

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, second, temperature, z, r_z, c, r_c, *gradients = ctx.saved_tensors
        sides = Side(z, r_z, ctx.ordinary[0]), Side(c, r_c, ctx.ordinary[1])
        with arithmetic():
            found = Found(grad, *sides, *gradients)
            dz, dc, dt, db = backward(grad, found, ctx.count, temperature, ctx.options, ctx.needs_input_grad[1])
        return returned(dz, first), None if dc is None else returned(dc, second), dt, db, None, None


_siglip: Callable[..., Tensor] = _SigLip.apply


def _pass(
    z: Tensor, c: Tensor, temperature: Tensor, bias: Tensor, options: Options, needed: tuple[bool, bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sum of the losses and the gradients of `Found`, from each tile once."""
    losses, left = z.new_zeros(len(z)), z / temperature
    by_rows, by_bias = torch.zeros_like(z), z.new_zeros(len(z))
    by_columns = ColumnSums(torch.zeros_like(c if needed[1] else c[:0]))
    for rows, columns in pieces(len(z), len(c), options):
        tile = dense_product(left[rows], c[columns].T).add_(bias)  # -v: the logit of another pair, and of a true one
        partners = tile.diagonal(options.start + rows.start - columns.start)
        partners.neg_()
        losses[rows] += F.softplus(tile, threshold=LINEAR_FROM).sum(1)
        if not needed[0]:
            continue
        weights = tile.sigmoid_()
        partners.neg_()
        by_bias[rows] += weights.sum(1)
        add_product(by_rows[rows], weights, c[columns])
        if needed[1]:
            by_columns.add(columns, weights, z[rows])
    return losses.sum(), by_rows, by_columns.finish(), by_bias.sum()
