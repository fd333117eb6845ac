# SPDX-License-Identifier: Apache-2.0
"""Register the loss between two sets as a custom operator, for the reasons given in `kernels.supcon.ops`."""

from __future__ import annotations

from typing import Any, Optional, cast

import torch
from torch import Tensor

from lightning_monocon.kernels.cross_supcon import streamed
from lightning_monocon.kernels.cross_supcon.terms import CrossTerms, cross_terms
from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.supcon.ops import check, make_options, refuse_second_derivative
from lightning_monocon.kernels.supcon.options import Options, Precision
from lightning_monocon.kernels.supcon.route import takes_kernels
from lightning_monocon.kernels.supcon.shapes import tile_dtype
from lightning_monocon.kernels.supcon.unit import through_unit_, unit_rows

# loss; z, c, r of z, r of c, ids, scale, share, averaged, exponentials if they are kept
Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@torch.library.custom_op("monocon::cross_supcon", mutates_args=())
def _forward(
    anchors: Tensor,
    contrast: Tensor,
    anchor_labels: Tensor,
    contrast_labels: Tensor,
    temperature: Tensor,
    normalize: bool,
    singletons: str,
    ignore_index: Optional[int],  # noqa: UP045  (the schema is read from this spelling by every torch from 2.10)
    block_size: int,
    bounded: bool,
    precision: str,
    backend: str,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    options = make_options(normalize, singletons, ignore_index, block_size, bounded, False, precision)
    labels = anchor_labels, contrast_labels
    terms = cross_terms(*labels, options, temperature.dtype)
    if takes_kernels("cross_supcon", backend, anchors):
        from lightning_monocon.kernels.cross_supcon import fused

        loss, unit, r, scale = fused.forward((anchors, contrast), labels, terms, temperature, options)
        return loss, *unit, *r, terms.ids, scale, *terms[1:], loss.new_empty((0, 0))
    with torch.autocast(anchors.device.type, enabled=False):
        z, r_z = unit_rows(anchors, temperature.dtype, normalize)
        c, r_c = unit_rows(contrast, temperature.dtype, normalize)
        pairs = streamed.pair_tiles(z, c, temperature, labels, options)
        loss, scale, kept = streamed.forward(pairs, terms, keep)
    return loss, z, c, r_z, r_c, terms.ids, scale, *terms[1:], kept


@_forward.register_fake
def _(
    anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor, temperature: Tensor,
    *settings: object,
) -> Outputs:  # fmt: skip
    *names, backend, keep = settings
    (count, dim), rows = anchors.shape, contrast.shape[0]
    check(contrast.shape[1] == dim and anchor_labels.shape[0] == count and contrast_labels.shape[0] == rows)
    options = Options(normalize=bool(names[0]), precision=cast(Precision, names[-1]))
    triton = takes_kernels("cross_supcon", str(backend), anchors)
    tile = tile_dtype(options) if triton else temperature.dtype
    new, dtype = anchors.new_empty, temperature.dtype
    sides = new((count, dim), dtype=tile), new((rows, dim), dtype=tile), new(count, dtype=dtype), new(rows, dtype=dtype)
    ids = new(count + rows, dtype=torch.int64)
    kept = new((count, rows) if keep and not triton else (0, 0), dtype=dtype)
    per_anchor = new(count, dtype=dtype), new(count, dtype=dtype)
    return new((), dtype=dtype), *sides, ids, *per_anchor, new((), dtype=dtype), kept


@torch.library.custom_op("monocon::cross_supcon_backward", mutates_args=())
def _backward(
    grad: Tensor,
    inputs: list[Tensor],
    residuals: list[Tensor],
    normalize: bool,
    ignore_index: Optional[int],  # noqa: UP045
    block_size: int,
    bounded: bool,
    precision: str,
    on_triton: bool,
    needs_contrast: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    options = make_options(normalize, "zero", ignore_index, block_size, bounded, False, precision)
    z, c, r_z, r_c, ids, scale, share, averaged, kept = residuals
    _, _, *labels, temperature = inputs
    terms, sides = CrossTerms(ids, share, averaged), (labels[0], labels[1])
    if on_triton:
        from lightning_monocon.kernels.cross_supcon import fused

        dz, dc, dt = fused.backward(grad, (z, c), (r_z, r_c), scale, terms, sides, temperature, options, needs_contrast)
        return dz, c.new_empty(0, dtype=dz.dtype) if dc is None else dc, dt
    with torch.autocast(z.device.type, enabled=False):
        pairs = streamed.pair_tiles(z, c, temperature, sides, options)
        dz, dc, dt = streamed.backward(grad, pairs, terms, scale, kept, needs_contrast)
        dz = through_unit_(dz, z, r_z) if normalize else dz
        dc = dc if dc is None or not normalize else through_unit_(dc, c, r_c)
    return dz, c.new_empty(0) if dc is None else dc, dt


@_backward.register_fake
def _(grad: Tensor, inputs: list[Tensor], residuals: list[Tensor], *settings: object) -> tuple[Tensor, Tensor, Tensor]:
    z, c = residuals[0], residuals[1]
    dtype = inputs[-1].dtype
    dc = c.new_empty(c.shape if settings[-1] else 0, dtype=dtype)
    return z.new_empty(z.shape, dtype=dtype), dc, torch.empty_like(inputs[-1])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:  # noqa: ANN401
    *tensors, normalize, _, ignore_index, block_size, bounded, precision, backend, _ = inputs
    on_triton = takes_kernels("cross_supcon", backend, tensors[0])
    ctx.settings = normalize, ignore_index, block_size, bounded, precision, on_triton
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, *output[1:])


def _differentiate(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    if grad is None:
        return (None,) * 13
    # both sets are passed for their dtypes, and so that a second derivative reaches the operator, which refuses it
    inputs, residuals = list(ctx.saved_tensors[:5]), list(ctx.saved_tensors[5:])
    needed = bool(ctx.needs_input_grad[1])
    dz, dc, dt = _backward(grad, inputs, residuals, *ctx.settings, needed)
    return dz.to(inputs[0].dtype), dc.to(inputs[1].dtype) if needed else None, None, None, dt, *(None,) * 8


_forward.register_autograd(_differentiate, setup_context=_setup_context)
_backward.register_autograd(refuse_second_derivative)


def cross_operator(
    anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor, temperature: Tensor,
    options: Options, backend: Backend,
) -> Tensor:  # fmt: skip
    """Return the loss from the operator; the arguments are those of `cross_supcon`, with int64 labels."""
    names = options.normalize, options.singletons, options.ignore_index
    # a compiled program must not depend on the number of pairs
    keep = options.bounded and not torch.compiler.is_compiling()
    pairs = 0 if not keep else len(anchors) * len(contrast)
    keep = keep and pairs <= streamed.KEEP_UP_TO and pairs * temperature.element_size() <= options.keep_bytes
    ways = options.block_size, options.bounded, options.precision, backend, keep
    loss: Tensor = _forward(anchors, contrast, anchor_labels, contrast_labels, temperature, *names, *ways)[0]
    return loss
