# SPDX-License-Identifier: Apache-2.0
"""Register the loss of one rank as a custom operator for `torch.compile`, `torch.export` and CUDA graphs.

``monocon::supcon`` and ``monocon::supcon_backward`` are told the implementation and how to multiply: inside a compiled
program they would see neither autocast nor a size that may change. Several ranks communicate between forward and
backward; they use `ranks`, a plain autograd function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional, cast

import torch
from torch import Tensor

from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.supcon.options import Options, Precision, Singletons
from lightning_monocon.kernels.supcon.route import takes_kernels
from lightning_monocon.kernels.supcon.shapes import tile_dtype
from lightning_monocon.kernels.supcon.streamed import NO_SECOND_DERIVATIVE, gradients, loss_and_residuals
from lightning_monocon.kernels.supcon.unit import through_unit_, unit_rows

check: Callable[[bool], None] = torch._check  # typed here: torch leaves it unannotated

# loss; z, r, ids, scale, share, pull, averaged as in `fused.Residuals`
Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def make_options(
    normalize: bool,
    singletons: str,
    ignore_index: int | None,
    block_size: int,
    bounded: bool,
    compare: bool,
    precision: str,
) -> Options:
    """Return the options from the plain arguments of an operator."""
    named = cast(Singletons, singletons), cast(Precision, precision)
    return Options(normalize, named[0], ignore_index, block_size, bounded, compare, named[1])


@torch.library.custom_op("monocon::supcon", mutates_args=())
def _forward(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    normalize: bool,
    singletons: str,
    ignore_index: Optional[int],  # noqa: UP045  (the schema is read from this spelling by every torch from 2.10)
    block_size: int,
    bounded: bool,
    compare: bool,
    precision: str,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    options = make_options(normalize, singletons, ignore_index, block_size, bounded, compare, precision)
    if takes_kernels("supcon", backend, embeddings):
        from lightning_monocon.kernels.supcon import fused

        loss, found = fused.forward(embeddings, labels, temperature, options)
        return loss, found.z, found.r, found.ids, found.scale, found.share, found.pull, found.averaged
    z, r = unit_rows(embeddings, temperature.dtype, normalize)
    loss, scale, pull = loss_and_residuals(z, temperature, z, labels, options)
    nothing = loss.new_empty(0)
    return loss, z, r, nothing.int(), scale, nothing, pull, loss.new_ones(())


@_forward.register_fake
def _(embeddings: Tensor, labels: Tensor, temperature: Tensor, *settings: object) -> Outputs:
    check(embeddings.dim() == 2 and labels.dim() == 1 and labels.shape[0] == embeddings.shape[0])
    count, dim = embeddings.shape
    options = Options(*cast("Any", settings[:-1]))
    triton = takes_kernels("supcon", str(settings[-1]), embeddings)
    compared = triton and options.compare
    wide = embeddings.new_empty
    dtype = temperature.dtype
    z = wide((count, dim), dtype=tile_dtype(options) if triton else dtype)
    ids = wide(count if compared else 0, dtype=torch.int32)
    share = wide(count if triton else 0, dtype=dtype)
    pull = wide((0 if compared else count, dim), dtype=dtype)
    rows = wide(count, dtype=dtype)
    return wide((), dtype=dtype), z, rows, ids, torch.empty_like(rows), share, pull, wide((), dtype=dtype)


@torch.library.custom_op("monocon::supcon_backward", mutates_args=())
def _backward(
    grad: Tensor,
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    residuals: list[Tensor],
    normalize: bool,
    singletons: str,
    ignore_index: Optional[int],  # noqa: UP045
    block_size: int,
    bounded: bool,
    compare: bool,
    precision: str,
    on_triton: bool,
) -> tuple[Tensor, Tensor]:
    options = make_options(normalize, singletons, ignore_index, block_size, bounded, compare, precision)
    z, r, ids, scale, share, pull, averaged = residuals
    if on_triton:
        from lightning_monocon.kernels.supcon import fused

        return fused.backward(grad, temperature, fused.Residuals(z, z, r, ids, scale, share, pull, averaged), options)
    dz, by_temperature = gradients(grad, z, temperature, z, labels, scale, pull, options)
    return through_unit_(dz, z, r) if normalize else dz, by_temperature


@_backward.register_fake
def _(
    grad: Tensor, embeddings: Tensor, labels: Tensor, temperature: Tensor, residuals: list[Tensor], *settings: object
) -> tuple[Tensor, Tensor]:
    return residuals[0].new_empty(residuals[0].shape, dtype=temperature.dtype), torch.empty_like(temperature)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:  # noqa: ANN401
    *tensors, ctx.settings = *inputs[:3], (*inputs[3:-1], takes_kernels("supcon", inputs[-1], inputs[0]))
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    # the embeddings are saved for their dtype, and so that a second derivative reaches the operator, which refuses it
    ctx.save_for_backward(*tensors, *output[1:])


def _differentiate(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    embeddings, labels, temperature, *residuals = ctx.saved_tensors
    if grad is None:
        return (None,) * 11
    by_embeddings, by_temperature = _backward(grad, embeddings, labels, temperature, residuals, *ctx.settings)
    return by_embeddings.to(embeddings.dtype), None, by_temperature, *(None,) * 8


def refuse_second_derivative(ctx: Any, *_: Tensor) -> None:  # noqa: ANN401
    """Raise a RuntimeError: the backward pass has no derivative."""
    raise RuntimeError(NO_SECOND_DERIVATIVE)


_forward.register_autograd(_differentiate, setup_context=_setup_context)
_backward.register_autograd(refuse_second_derivative)


def supcon_operator(
    embeddings: Tensor, labels: Tensor, temperature: Tensor, options: Options, backend: Backend
) -> Tensor:
    """Return the loss of one rank from the operator; the arguments are those of `kernels.supcon.supcon`."""
    loss: Tensor = _forward(
        embeddings,
        labels,
        temperature,
        options.normalize,
        options.singletons,
        options.ignore_index,
        options.block_size,
        options.bounded,
        options.compare,
        options.precision,
        backend,
    )[0]
    return loss
