# SPDX-License-Identifier: Apache-2.0
"""Register the monotone stack as two custom operators for compilation, export and CUDA graphs.

``monocon::monotone_mlp`` returns the outputs of all layers (the last in float32), because the backward pass needs the
hidden ones. ``monocon::monotone_mlp_backward`` returns the gradients. Both choose their route by sizes alone and read
no tensor on the host.

The operators do not validate shapes; `lightning_monocon.kernels.monotone_linear.monotone_mlp` does.
"""

from __future__ import annotations

from typing import Any, Optional, cast

import torch
from torch import Tensor

from lightning_monocon.kernels.context import Context
from lightning_monocon.kernels.dispatch import architecture, use_triton
from lightning_monocon.kernels.monotone_linear.configurations import SIXTEEN_BIT, Precision
from lightning_monocon.kernels.monotone_linear.library import through_activation
from lightning_monocon.kernels.monotone_linear.reference import Activation, Parametrization, Plan


@torch.library.custom_op("monocon::monotone_mlp", mutates_args=())
def monotone_mlp(
    x: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    signs: Optional[Tensor],  # noqa: UP045 (the schema is read from this spelling by every torch from 2.10)
    parametrization: str,
    activation: str,
    output_activation: str,
    precision: str,
) -> list[Tensor]:
    """Return the outputs of all layers; the names are those of `Plan`."""
    if x.numel() == 0:
        return _empty_outputs(x, weights, precision)
    use_triton("monotone_mlp", "triton", {}, x)  # a compiled program may have been moved: raise here, not inside
    from lightning_monocon.kernels.monotone_linear import stack

    plan = _plan(parametrization, activation, output_activation, signs)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]  # Triton launches on the current device, wherever the tensors are
        return stack.forward(x, weights, biases, plan, cast("Precision", precision), architecture(x.device))


@torch.library.custom_op("monocon::monotone_mlp_backward", mutates_args=())
def monotone_mlp_backward(
    grad: Tensor,
    x: Tensor,
    outputs: list[Tensor],
    weights: list[Tensor],
    biases: list[Tensor],
    signs: Optional[Tensor],  # noqa: UP045 (the schema is read from this spelling by every torch from 2.10)
    parametrization: str,
    activation: str,
    output_activation: str,
    precision: str,
    needs_input: bool,
) -> list[Tensor]:
    """Return the gradients of x (empty if not needed), of all weights and of all biases, in their dtypes."""
    if x.numel() == 0:
        return [torch.zeros_like(t) for t in (x if needs_input else x.new_empty(0), *weights, *biases)]
    from lightning_monocon.kernels.monotone_linear import stack

    plan = _plan(parametrization, activation, output_activation, signs)
    grad = through_activation(grad, outputs[-1], plan.output_activation)
    inputs, target = [x, *outputs[:-1]], architecture(x.device)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        dx, dws, dbs = stack.backward(grad, inputs, weights, plan, cast("Precision", precision), target, needs_input)
    parameters = [d.to(p.dtype) for d, p in zip([*dws, *dbs], [*weights, *biases], strict=True)]
    return [x.new_empty(0) if dx is None else dx.to(x.dtype), *parameters]


@monotone_mlp.register_fake
def _(x: Tensor, weights: list[Tensor], biases: list[Tensor], signs: Tensor | None, *names: str) -> list[Tensor]:
    for weight, width in zip(weights, [x.shape[1], *(w.shape[0] for w in weights)], strict=False):
        torch._check(weight.shape[1] == width)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return _empty_outputs(x, weights, names[-1])


@monotone_mlp_backward.register_fake
def _(
    grad: Tensor, x: Tensor, outputs: list[Tensor], weights: list[Tensor], biases: list[Tensor], *rest: object
) -> list[Tensor]:
    dx = x.new_empty(x.shape) if rest[-1] else x.new_empty(0)
    return [dx, *(p.new_empty(p.shape) for p in (*weights, *biases))]


def _setup_context(ctx: Context, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, weights, biases, signs, *ctx.names = inputs
    ctx.count, ctx.signed = len(weights), signs is not None
    ctx.set_materialize_grads(False)  # hidden outputs have no gradient, and need no zeros of their size
    ctx.save_for_backward(x, *output, *weights, *biases, *([signs] if ctx.signed else []))


def _backward(ctx: Context, grads: list[Tensor]) -> tuple[Any, ...]:
    x, *rest = ctx.saved_tensors
    n = ctx.count
    outputs, weights, biases = rest[:n], rest[n : 2 * n], rest[2 * n : 3 * n]
    signs = rest[-1] if ctx.signed else None
    needs_input = bool(ctx.needs_input_grad[0])
    # Hidden outputs serve only this backward pass; the public function does not return them.
    dx, *parameters = monotone_mlp_backward(
        grads[-1].contiguous(), x, outputs, weights, biases, signs, *ctx.names, needs_input
    )
    return (dx if needs_input else None, parameters[:n], parameters[n:], None, *(None for _ in ctx.names))


monotone_mlp.register_autograd(_backward, setup_context=_setup_context)


def _no_second_derivative(ctx: object, *grads: object) -> None:
    raise RuntimeError(
        "the Triton monotone layer has no second derivative; pass backend='torch' to the head or to monotone_mlp."
    )


monotone_mlp_backward.register_autograd(_no_second_derivative)


def _plan(parametrization: str, activation: str, output_activation: str, signs: Tensor | None) -> Plan:
    return Plan(
        cast("Parametrization", parametrization),
        cast("Activation", activation),
        cast("Activation", output_activation),
        signs,
    )


def _empty_outputs(x: Tensor, weights: list[Tensor], precision: str) -> list[Tensor]:
    """Return tensors with the shapes and dtypes of the outputs; 16-bit modes keep hidden outputs in 16 bits."""
    kept = SIXTEEN_BIT.get(precision, torch.float32)
    last = len(weights) - 1
    return [
        x.new_empty((x.shape[0], weight.shape[0]), dtype=torch.float32 if index == last else kept)
        for index, weight in enumerate(weights)
    ]
