# SPDX-License-Identifier: Apache-2.0
"""Register the losses of pairs of one rank as a custom operator, for `torch.compile` and `torch.export`.

Without a compiler, and with several ranks, the autograd functions of `symmetric` and `sigmoid` serve the calls.
"""

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from lightning_monocon.kernels.context import Context
from lightning_monocon.kernels.pairs import sigmoid, symmetric
from lightning_monocon.kernels.pairs.sides import Side
from lightning_monocon.kernels.supcon.kept import arithmetic
from lightning_monocon.kernels.supcon.ops import check, refuse_second_derivative
from lightning_monocon.kernels.supcon.options import Options

# loss; z and r of both sides; for CLIP the scales of rows and columns and nothing, for SigLIP three gradients
Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@torch.library.custom_op("monocon::pairs", mutates_args=())
def _forward(
    first: Tensor,
    second: Tensor,
    temperature: Tensor,
    bias: Optional[Tensor],  # noqa: UP045  (the schema is read from this spelling by every torch from 2.10)
    normalize: bool,
    block_size: int,
    bounded: bool,
    needed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    options = Options(normalize, block_size=block_size, bounded=bounded)
    with arithmetic():
        if bias is not None:
            judged = sigmoid.forward(first, second, temperature, bias, options, (needed, needed))
            return judged.loss, *_plain(judged.one, normalize), *_plain(judged.two, normalize), *judged[3:]
        found = symmetric.forward(first, second, temperature, options, keep=False)
        nothing = found.loss.new_empty(0)
        return found.loss, *_plain(found.one, normalize), *_plain(found.two, normalize), *found.scales, nothing


def _plain(side: Side, normalize: bool) -> tuple[Tensor, Tensor]:
    """Return z and r as tensors of their own, which an operator's outputs must be."""
    return side.rows, side.inverse if normalize else side.inverse.clone()


@_forward.register_fake
def _(
    first: Tensor, second: Tensor, temperature: Tensor, bias: Optional[Tensor], *settings: object  # noqa: UP045
) -> Outputs:  # fmt: skip
    count, dim = first.shape
    check(second.shape[0] == count and second.shape[1] == dim)

    def new(*shape: int) -> Tensor:
        return first.new_empty(shape, dtype=temperature.dtype)

    sides = new(count, dim), new(count), new(count, dim), new(count)
    if bias is None:
        return new(), *sides, new(count), new(count), new(0)
    return new(), *sides, new(count, dim), new(count if settings[-1] else 0, dim), new()


@torch.library.custom_op("monocon::pairs_backward", mutates_args=())
def _backward(
    grad: Tensor,
    inputs: list[Tensor],
    residuals: list[Tensor],
    sigmoidal: bool,
    normalize: bool,
    block_size: int,
    bounded: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    options = Options(normalize, block_size=block_size, bounded=bounded)
    temperature = inputs[2]
    z, r_z, c, r_c, *rest = residuals
    sides = Side(z, r_z, False), Side(c, r_c, False)
    with arithmetic():
        if sigmoidal:
            judged = sigmoid.Found(grad, *sides, *rest)
            dz, dc, dt, db = sigmoid.backward(grad, judged, len(z), temperature, options, True)
        else:
            found = symmetric.Found(grad, *sides, c, (rest[0], rest[1]), [])
            (dz, dc, dt), db = symmetric.backward(grad, found, temperature, options, True), grad.new_zeros(())
    return dz, torch.zeros_like(c) if dc is None else dc, dt, db


@_backward.register_fake
def _(
    grad: Tensor, inputs: list[Tensor], residuals: list[Tensor], *settings: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    like = torch.empty_like
    return like(residuals[0]), like(residuals[2]), like(inputs[2]), like(inputs[2])


def _setup_context(ctx: Context, inputs: tuple[Any, ...], output: Outputs) -> None:
    first, second, temperature, bias, *ctx.settings, _ = inputs
    ctx.sigmoidal = bias is not None
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    # both sides are saved for their dtypes, and so that a second derivative reaches the operator, which refuses it
    ctx.save_for_backward(first, second, temperature, *output[1:])


def _differentiate(ctx: Context, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 8
    inputs, residuals = list(ctx.saved_tensors[:3]), list(ctx.saved_tensors[3:])
    dz, dc, dt, db = _backward(grad, inputs, residuals, ctx.sigmoidal, *ctx.settings)
    return dz.to(inputs[0].dtype), dc.to(inputs[1].dtype), dt, db if ctx.sigmoidal else None, *(None,) * 4


_forward.register_autograd(_differentiate, setup_context=_setup_context)
_backward.register_autograd(refuse_second_derivative)


def pairs_operator(first: Tensor, second: Tensor, temperature: Tensor, bias: Tensor | None, options: Options) -> Tensor:
    """Return CLIP's loss, or with a bias SigLIP's, from the operator."""
    tensors = first, second, temperature, *(() if bias is None else (bias,))
    needed = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    ways = options.normalize, options.block_size, options.bounded, needed
    loss: Tensor = _forward(first, second, temperature, bias, *ways)[0]
    return loss
