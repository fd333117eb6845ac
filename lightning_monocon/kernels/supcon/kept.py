# SPDX-License-Identifier: Apache-2.0
r"""Compute the supervised contrastive loss of one set on a CPU, and keep the exponentials for the backward pass.

Formulas and symbols are those of `streamed`. A batch of a few thousand rows is bound by other things there: by calls,
and by computing ``exp s`` a second time. Here half of the pairs is kept, N^2 / 2 numbers, up to `Options.keep_bytes`;
the backward pass then costs 2 N^2 D operations and no exponential. What is over the budget is computed again. Rows
are normalised, and logits small enough for exp without a shift, so that ``A_ij = exp(s_ij) (a_i + a_j)``.

Tiles are low and wide, a strip of rows against the columns behind its diagonal in pieces of half a megabyte: less of
the diagonal is computed twice than with square tiles, and a tile leaves room for its products in a cache of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import zip_longest

import torch
from torch import Tensor

from lightning_monocon.kernels.context import Context
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.positives import refuse_singletons
from lightning_monocon.kernels.supcon.products import ColumnSums, add_product, dense_product
from lightning_monocon.kernels.supcon.streamed import NO_SECOND_DERIVATIVE
from lightning_monocon.kernels.supcon.tiles import LOG2_E
from lightning_monocon.kernels.supcon.unit import through_unit_, unit_rows

ORDINARY = 2.0**-40, 2.0**40
"""Lengths of rows whose squares need no scaling first."""

Piece = tuple[slice, slice]
"""Rows and columns of a tile; the same slice on the diagonal, else the tile stands for its transpose too."""


def serves(embeddings: Tensor, labels: Tensor, options: Options) -> bool:
    """Return whether a call fits: on a CPU, one rank, no ignored rows, and a budget, for part of the pairs at least."""
    found = options.bounded and embeddings.shape[0] > 1 and options.keep_bytes > 0
    return found and fits(0, options, embeddings, labels)


def fits(pairs: int, options: Options, *inputs: Tensor) -> bool:
    """Return whether a loss of plain CPU tensors, the embeddings first, may keep its exponentials, one a pair.

    Whether its logits are small enough (`shapes.is_bounded`) is not asked here.
    """
    for tensor in inputs:
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        if wrapped or not tensor.is_cpu or type(tensor) not in (Tensor, torch.nn.Parameter):
            return False
    if options.gather or options.ignore_index is not None or torch._C._get_tracing_state():
        return False
    return pairs * (8 if inputs[0].dtype == torch.float64 else 4) <= options.keep_bytes


def supcon_kept(embeddings: Tensor, labels: Tensor, temperature: Tensor, options: Options) -> Tensor:
    """Return the loss, differentiable once by reverse mode; the arguments are those of `streamed.supcon_streamed`."""
    loss: Tensor = _kept(embeddings, labels, temperature, options)
    return loss


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, embeddings: Tensor, labels: Tensor, temperature: Tensor, options: Options) -> Tensor:
        with arithmetic():
            z, r, ordinary = quick_unit_rows(embeddings.detach(), temperature.dtype)
            weight, pull = _positives(z, labels, options)
            sums, kept = _exponentials(z, temperature, options)
            loss: Tensor = torch.dot(weight, sums.log()) - torch.linalg.vecdot(z, pull).sum() / temperature
        ctx.options, ctx.ordinary = options, ordinary
        ctx.save_for_backward(embeddings, temperature, z, r, weight / sums, pull, *kept)
        return loss

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        embeddings, temperature, z, r, scale, pull, *kept = ctx.saved_tensors
        with arithmetic():
            dz = _repulsion(z, temperature, scale, kept, ctx.options).sub_(pull, alpha=2).mul_(grad / temperature)
            by_temperature = (dz * z).sum() / (-2 * temperature) if ctx.needs_input_grad[2] else None
            by_embeddings = quick_through_unit_(dz, z, r, ctx.ordinary).to(embeddings.dtype)
        if torch.is_grad_enabled():  # a second derivative is wanted
            by_embeddings = refuse_to_differentiate(by_embeddings, embeddings)
        return by_embeddings, None, by_temperature, None


class _Refuse(torch.autograd.Function):
    """Return a gradient that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Context, gradient: Tensor, embeddings: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Context, *_: Tensor) -> None:
        raise RuntimeError(NO_SECOND_DERIVATIVE)


_kept: Callable[..., Tensor] = _Kept.apply
refuse_to_differentiate: Callable[..., Tensor] = _Refuse.apply


def arithmetic() -> AbstractContextManager[object]:
    """Return a context without autocast and graphs, which costs nothing if there are none."""
    if not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu"):
        return nullcontext()
    stack = ExitStack()
    stack.enter_context(torch.no_grad())
    stack.enter_context(torch.autocast("cpu", enabled=False))
    return stack


def quick_unit_rows(embeddings: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, bool]:
    """Return what `unit.unit_rows` does, in fewer calls if all lengths are ordinary, and whether they are."""
    rows = embeddings.to(dtype)
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    shortest, longest = torch.aminmax(lengths)
    if ORDINARY[0] <= float(shortest) and float(longest) <= ORDINARY[1]:
        return rows / lengths, lengths.reciprocal_().squeeze(1), True
    return *unit_rows(embeddings, dtype, normalize=True), False


def quick_through_unit_(dz: Tensor, z: Tensor, r: Tensor, ordinary: bool) -> Tensor:
    """Do what `unit.through_unit_` does, in fewer calls if the lengths are ordinary."""
    if not ordinary:
        return through_unit_(dz, z, r)
    along = torch.linalg.vecdot(dz, z).unsqueeze(1)
    return dz.addcmul_(along, z, value=-1).mul_(r.unsqueeze(1))


def _positives(z: Tensor, labels: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """Return u ``(N,)`` and u mu ``(N, D)``, as `positives.anchor_terms` describes them."""
    _, ids, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    others = counts[ids].sub_(1)
    paired = others > 0
    if options.singletons == "error":
        refuse_singletons(labels, ~paired)
    averaged = paired.sum().clamp_min(1) if options.singletons == "skip" else len(z)
    weight = paired.to(z.dtype).div_(averaged)
    sums = z.new_zeros((len(counts), z.shape[1])).index_add_(0, ids, z)
    return weight, sums[ids].sub_(z).mul_((weight / others.clamp_min_(1)).unsqueeze(1))


def tile_shape(options: Options) -> tuple[int, int]:
    """Return the height and the width of a tile."""
    return max(options.block_size // 2, 1), options.block_size


def _pieces(count: int, options: Options) -> Iterator[Piece]:
    height, width = tile_shape(options)
    for i in range(0, count, height):
        rows = slice(i, min(i + height, count))
        yield rows, rows
        for j in range(rows.stop, count, width):
            yield rows, slice(j, min(j + width, count))


def _exponentials(z: Tensor, temperature: Tensor, options: Options) -> tuple[Tensor, list[Tensor]]:
    """Return ``S_i = sum_{j != i} exp s_ij`` ``(N,)``, and the first tiles of ``exp s``, 0 for a row with itself."""
    sums, left, kept, room = z.new_zeros(len(z)), z * (LOG2_E / temperature), [], options.keep_bytes
    for rows, columns in _pieces(len(z), options):
        tile = _tile(left, z, rows, columns)
        if columns is not rows:
            sums[columns] += tile.sum(0)
        sums[rows] += tile.sum(1)
        room -= tile.nbytes
        if room >= 0:
            kept.append(tile)
    return sums, kept


def _tile(left: Tensor, z: Tensor, rows: slice, columns: slice) -> Tensor:
    tile = dense_product(left[rows], z[columns].T).exp2_()
    return tile.fill_diagonal_(0) if columns is rows else tile


def _repulsion(z: Tensor, temperature: Tensor, scale: Tensor, kept: list[Tensor], options: Options) -> Tensor:
    """Return ``sum_{j != i} A_ij z_j`` ``(N, D)`` from a ``(N,)`` and the first tiles of exp s."""
    gradient = torch.zeros_like(z)
    by_columns = ColumnSums(gradient)
    height, width = tile_shape(options)
    column, buffer = scale.unsqueeze(1), z.new_empty(min(height, len(z)) * min(max(height, width), len(z)))
    left = z * (LOG2_E / temperature)
    for (rows, columns), known in zip_longest(_pieces(len(z), options), kept):
        tile = _tile(left, z, rows, columns) if known is None else known
        weights = torch.add(column[rows], scale[columns], out=buffer[: tile.numel()].view_as(tile)).mul_(tile)
        add_product(gradient[rows], weights, z[columns])
        if columns is not rows:
            by_columns.add(columns, weights, z[rows])
    return by_columns.finish()
