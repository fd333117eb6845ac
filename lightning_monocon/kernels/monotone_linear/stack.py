# SPDX-License-Identifier: Apache-2.0
"""Run a monotone stack on a GPU (or in the interpreter), layer by layer, on the routes of `configurations`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_monocon.kernels.monotone_linear import launch, library
from lightning_monocon.kernels.monotone_linear.configurations import (
    CHEAP_MAPS,
    SIXTEEN_BIT,
    Configuration,
    Precision,
    configuration,
    resolve,
    takes_library,
)
from lightning_monocon.kernels.monotone_linear.launch import Weight
from lightning_monocon.kernels.monotone_linear.reference import Plan
from lightning_monocon.kernels.products import product

Gradients = tuple[Tensor | None, list[Tensor], list[Tensor]]


def forward(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], plan: Plan, precision: Precision, architecture: str
) -> list[Tensor]:
    """Return the outputs of all layers, the last in float32, the others in the dtype of the products."""
    c = configuration(architecture, resolve(precision))
    kept = SIXTEEN_BIT.get(precision, torch.float32)
    raw = _raw(weights, plan)
    if takes_library(precision, len(x), c.rows_on_load):
        mapped = [launch.map_weight(weight, kept) for weight in raw]
        return library.forward(x.to(kept), mapped, biases, plan, library.torch_linear)
    outputs = [x]
    for index, (weight, bias) in enumerate(zip(raw, biases, strict=True)):
        last = index == len(raw) - 1
        activation = plan.output_activation if last else plan.activation
        dtype = torch.float32 if last else kept
        outputs.append(launch.layer_forward(outputs[-1], _read(weight, len(x), c), bias, activation, dtype, c.forward))
    return outputs[1:]


def backward(
    grad: Tensor,
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    plan: Plan,
    precision: Precision,
    architecture: str,
    needs_input: bool,
) -> Gradients:
    """Return the gradients of x (None if not needed), of the raw weights and of the biases.

    ``grad`` is taken at the last layer's pre-activation, (M, N_L), float32; ``inputs`` holds x, then every output but
    the last. The plan, precision and architecture are those of the forward pass.
    """
    c = configuration(architecture, resolve(precision))
    raw = _raw(weights, plan)
    if takes_library(precision, len(grad), c.rows_on_load):
        kept = SIXTEEN_BIT.get(precision, torch.float32)
        mapped = [launch.map_weight(weight, kept) for weight in raw]
        operands = [inputs[0].to(kept), *inputs[1:]]
        return library.backward(grad, operands, weights, mapped, plan, product, needs_input)
    dws: list[Tensor] = []
    dbs: list[Tensor] = []
    dz: Tensor | None = grad
    for index in range(len(raw) - 1, -1, -1):
        assert dz is not None
        activation = plan.activation if index else "linear"
        layer = plan._replace(activation=activation)
        dz, dw, db = _layer_backward(dz, raw[index], inputs[index], layer, c, bool(index) or needs_input)
        dws.insert(0, dw)
        dbs.insert(0, db)
    return dz, dws, dbs


def _layer_backward(
    dz: Tensor, weight: Weight, x: Tensor, plan: Plan, c: Configuration, needs_input: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return dX (None if not needed; before ``plan.activation``), dW and db of one layer."""
    read = _read(weight, len(x), c)
    if needs_input and c.both is not None and read is weight:
        return launch.layer_both(dz, weight, x, plan.activation, x.dtype, c.both)
    dx = launch.layer_dx(dz, read, x, plan.activation, x.dtype, c.dx) if needs_input else None
    return dx, *launch.layer_dw(dz, x, weight, c)


def _raw(weights: Sequence[Tensor], plan: Plan) -> list[Weight]:
    """Return the raw weights; only the first layer has signs, if its weights are mapped."""
    signs = None if plan.parametrization == "none" else plan.signs
    return [Weight(weight, plan.parametrization, None if index else signs) for index, weight in enumerate(weights)]


def _read(weight: Weight, rows: int, c: Configuration) -> Weight:
    """Return the weight as the tiles read it: raw if they map it on load, else mapped once."""
    if rows <= c.rows_on_load and weight.parametrization in CHEAP_MAPS:
        return weight
    return Weight(launch.map_weight(weight, SIXTEEN_BIT.get(c.forward.dot, torch.float32)), "none", None)
