# SPDX-License-Identifier: Apache-2.0
r"""Compute CLIP's loss in plain torch, both directions from one tile of scores at a time.

Forward:   R_i = sum_j exp s_ij,   C_j = sum_i exp s_ij
           loss = (1 / 2N) sum_i (log R_i + log C_i - 2 s_ii)
Backward:  W_ij = exp(s_ij) (1 / R_i + 1 / C_j)     = exp(s_ij - log R_i) + exp(s_ij - log C_j), if exp may overflow
           dz_i = h (sum_j W_ij c_j - 2 c_i),   dc_j = h (sum_i W_ij z_i - 2 z_j),   h = g / (2 N T)
           dT   = -(1 / T) sum_i dz_i . z_i
Saved:     z, c, 1 / R and 1 / C or their logarithms, and exp s up to `Options.keep_bytes` on a CPU, without which the
           tiles are computed again. Nothing else is N x N.
Cost:      2 N^2 D operations forward and 4 N^2 D backward, 6 N^2 D where tiles are computed again.
Ranks:     see `sides`; the ranks add their parts of C, one float a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.kernels.context import Context
from lightning_monocon.kernels.cross_supcon.kept import pieces
from lightning_monocon.kernels.pairs.sides import Side, everyone, own_columns, own_gradient, returned, total
from lightning_monocon.kernels.supcon.kept import arithmetic
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.products import ColumnSums, add_product, dense_product
from lightning_monocon.kernels.supcon.tiles import LOG2_E

Scales = tuple[Tensor, Tensor]
"""One number for each row and one for each column."""
Tile = tuple[slice, slice, Tensor]
"""Its rows, its columns, and ``exp s`` if the logits are bounded, else ``s``."""


def clip_streamed(first: Tensor, second: Tensor, temperature: Tensor, options: Options) -> Tensor:
    """Return the loss, differentiable once by reverse mode.

    Args:
        first: This rank's rows of the first side, ``(M, D)``.
        second: Their partners, ``(M, D)``.
        temperature: T, 0-d, float32 or float64: the dtype of all arithmetic.
        options: The rules of the loss.

    Returns:
        The loss over the pairs of all ranks, 0-d, the same on every rank.
    """
    return _clip(first, second, temperature, options)


class Found(NamedTuple):
    """Hold what the forward pass finds."""

    loss: Tensor
    """0-d."""
    one: Side
    two: Side
    columns: Tensor
    """``(N, D)``, the second sides of all ranks."""
    scales: Scales
    """1 / R ``(M,)`` and 1 / C ``(N,)``, or log R and log C if the logits are not bounded."""
    kept: list[Tensor]
    """The tiles of exp s, if they are kept."""


def forward(first: Tensor, second: Tensor, temperature: Tensor, options: Options, keep: bool) -> Found:
    """Return the loss and what its gradients need; tiles are kept on request, if they fit."""
    one, two = (Side.of(side, temperature.dtype, options) for side in (first, second))
    columns = everyone(two.rows, options)
    sums, kept = _sums(one.rows, columns, temperature, options, keep and _fits(one.rows, columns, options))
    logs = torch.cat([sums[0], sums[1][own_columns(options, len(first))]])
    pushed = (logs.log() if options.bounded else logs).sum() / 2
    pulled = (one.rows * two.rows).sum() / temperature
    loss = total(pushed - pulled, options) / max(len(columns), 1)
    scales = (sums[0].reciprocal(), sums[1].reciprocal()) if options.bounded else sums
    return Found(loss, one, two, columns, scales, kept)


def backward(
    grad: Tensor, found: Found, temperature: Tensor, options: Options, needs_second: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the gradients of both sides, of the second on request, and of the temperature."""
    z, c, columns = found.one.rows, found.two.rows, found.columns
    tiles = _again(z, columns, found.kept, options) if found.kept else _tiles(z, columns, temperature, options)
    dz, by_columns = _pushes(tiles, z, columns, found.scales, options, needs_second)
    factor = grad * options.ranks / (2 * max(len(columns), 1) * temperature)
    dz.sub_(c, alpha=2).mul_(factor)
    by_temperature = (dz * z).sum() / -temperature
    dc = None
    if by_columns is not None:
        dc = own_gradient(by_columns, options, len(c)).sub_(z, alpha=2).mul_(factor)
        dc = found.two.back(dc, options)
    return found.one.back(dz, options), dc, by_temperature


class _Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, first: Tensor, second: Tensor, temperature: Tensor, options: Options) -> Tensor:
        with arithmetic():
            loss, one, two, columns, scales, kept = forward(
                first, second, temperature, options, any(ctx.needs_input_grad)
            )
        ctx.options, ctx.ordinary = options, (one.ordinary, two.ordinary)
        ctx.save_for_backward(first, second, temperature, *one[:2], *two[:2], columns, *scales, *kept)
        return loss

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, second, temperature, z, r_z, c, r_c, columns, rows_scale, columns_scale, *kept = ctx.saved_tensors
        sides = Side(z, r_z, ctx.ordinary[0]), Side(c, r_c, ctx.ordinary[1])
        with arithmetic():
            found = Found(grad, *sides, columns, (rows_scale, columns_scale), kept)
            dz, dc, dt = backward(grad, found, temperature, ctx.options, ctx.needs_input_grad[1])
        return returned(dz, first), None if dc is None else returned(dc, second), dt, None


_clip: Callable[..., Tensor] = _Clip.apply


def _fits(z: Tensor, columns: Tensor, options: Options) -> bool:
    """Return whether ``exp s`` may be kept."""
    size = len(z) * len(columns) * z.element_size()
    return options.bounded and z.is_cpu and 0 < size <= options.keep_bytes


def _tiles(z: Tensor, c: Tensor, temperature: Tensor, options: Options) -> Iterator[Tile]:
    """Yield the tiles, which the caller may overwrite."""
    left = z * (LOG2_E / temperature if options.bounded else temperature.reciprocal())
    for rows, columns in pieces(len(z), len(c), options):
        tile = dense_product(left[rows], c[columns].T)
        yield rows, columns, tile.exp2_() if options.bounded else tile


def _again(z: Tensor, c: Tensor, kept: list[Tensor], options: Options) -> Iterator[Tile]:
    """Yield the tiles that were kept, which must not be overwritten."""
    for (rows, columns), tile in zip(pieces(len(z), len(c), options), kept, strict=True):
        yield rows, columns, tile


def _sums(z: Tensor, c: Tensor, temperature: Tensor, options: Options, keep: bool) -> tuple[Scales, list[Tensor]]:
    """Return R and C of all ranks, or their logarithms if logits are not bounded, and the tiles if they are kept."""
    start = 0.0 if options.bounded else -torch.inf
    by_rows, by_columns, kept = z.new_full((len(z),), start), z.new_full((len(c),), start), []
    for rows, columns, tile in _tiles(z, c, temperature, options):
        if options.bounded:
            by_rows[rows] += tile.sum(1)
            by_columns[columns] += tile.sum(0)
        else:
            by_rows[rows] = torch.logaddexp(by_rows[rows], tile.logsumexp(1))
            by_columns[columns] = torch.logaddexp(by_columns[columns], tile.logsumexp(0))
        if keep:
            kept.append(tile)
    if options.gather is None:
        return (by_rows, by_columns), kept
    if options.bounded:
        return (by_rows, options.gather.sum(by_columns)), kept
    parts = z.new_zeros((options.ranks, len(c)))
    parts[options.gather.rank] = by_columns
    return (by_rows, options.gather.sum(parts).logsumexp(0)), kept


def _pushes(
    tiles: Iterator[Tile], z: Tensor, c: Tensor, scales: Scales, options: Options, needs_columns: bool
) -> tuple[Tensor, Tensor | None]:
    """Return ``sum_j W_ij c_j`` ``(M, D)``, and ``sum_i W_ij z_i`` ``(N, D)``."""
    by_rows = torch.zeros_like(z)
    by_columns = ColumnSums(torch.zeros_like(c)) if needs_columns else None
    own, others = scales[0].unsqueeze(1), scales[1]
    for rows, columns, tile in tiles:
        if options.bounded:
            weights = torch.add(own[rows], others[columns]).mul_(tile)
        else:
            weights = (tile - own[rows]).exp_().add_(tile.sub_(others[columns]).exp_())
        add_product(by_rows[rows], weights, c[columns])
        if by_columns is not None:
            by_columns.add(columns, weights, z[rows])
    return by_rows, None if by_columns is None else by_columns.finish()
