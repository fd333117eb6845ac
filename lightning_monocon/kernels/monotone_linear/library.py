# SPDX-License-Identifier: Apache-2.0
r"""Compute the monotone stack with a library's matrix product, and its gradients from the saved outputs of the layers.

The formulas are those of `lightning_monocon.kernels.monotone_linear.backward`. Activations act in place, and their
derivatives are computed from the outputs. The caller passes the product: cuBLAS, or oneDNN on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_monocon.kernels.monotone_linear import reference
from lightning_monocon.kernels.monotone_linear.reference import NEGATIVE_SLOPE, Activation, Parametrization, Plan
from lightning_monocon.kernels.products import product

aten = torch.ops.aten

Linear = Callable[[Tensor, Tensor, Tensor, Activation, torch.dtype], Tensor]
"""(x, mapped weight, bias, activation, dtype of the result) -> the layer's output."""

Product = Callable[[Tensor, Tensor, torch.dtype], Tensor]
"""(a, b, dtype of the result) -> a b, summed in float32."""

# phi'(z) times a gradient, from h = phi(z), each as one fused elementwise operation
_SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "leaky_relu": lambda grad, h: aten.leaky_relu_backward(grad, h, NEGATIVE_SLOPE, True),
    "relu": lambda grad, h: aten.threshold_backward(grad, h, 0),
    "elu": lambda grad, h: aten.elu_backward(grad, 1, 1, 1, True, h),
    "tanh": aten.tanh_backward,
    "linear": lambda grad, h: grad,
}

_MAP_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "square": lambda weight: 2 * weight,
    "exp": torch.exp,
    "softplus": torch.sigmoid,
    "abs": torch.sign,
    "none": torch.ones_like,
}


def through_activation(grad: Tensor, output: Tensor, activation: Activation) -> Tensor:
    """Return the gradient before the activation with the given output, in the dtype of ``grad``."""
    return _SLOPES[activation](grad, output.to(grad.dtype))


def through_map_(grad: Tensor, weight: Tensor, parametrization: Parametrization, signs: Tensor | None) -> Tensor:
    """Convert the gradient of the effective weight, in place, into that of the raw one; ``signs`` as in `Plan`."""
    if parametrization == "none":
        return grad
    slope = _MAP_SLOPES[parametrization](weight)
    if signs is not None:
        slope = torch.where(signs == 0, torch.ones_like(slope), signs.to(slope.dtype) * slope)
    return grad.mul_(slope)


def forward(x: Tensor, mapped: Sequence[Tensor], biases: Sequence[Tensor], plan: Plan, linear: Linear) -> list[Tensor]:
    """Return every layer's output, the last in float32, the others in the dtype of ``x``."""
    outputs = [x]
    last = len(mapped) - 1
    for index, (weight, bias) in enumerate(zip(mapped, biases, strict=True)):
        activation = plan.output_activation if index == last else plan.activation
        outputs.append(linear(outputs[-1], weight, bias, activation, torch.float32 if index == last else x.dtype))
    return outputs[1:]


def backward(
    grad: Tensor,
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    mapped: Sequence[Tensor],
    plan: Plan,
    multiply: Product,
    needs_input: bool = True,
) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
    """Return the gradients of x (None if not needed), of the raw weights and of the biases, in float32.

    Args:
        grad: At the last layer's pre-activation, (M, N_L), float32.
        inputs: Input of each layer: x, then every output but the last.
        weights: Raw weights.
        mapped: Effective weights, in the dtype of the products.
        plan: The plan of the forward pass.
        multiply: The matrix product.
        needs_input: Whether the gradient of x is needed.
    """
    dws: list[Tensor] = []
    dbs: list[Tensor] = []
    for index in range(len(weights) - 1, -1, -1):
        signs = plan.signs if index == 0 else None
        narrow = grad.to(mapped[index].dtype)
        dw = multiply(narrow.T, inputs[index], torch.float32)
        dws.insert(0, through_map_(dw, weights[index].to(dw.dtype), plan.parametrization, signs))
        dbs.insert(0, grad.sum(dim=0, dtype=torch.float32))
        if index > 0:
            # It stays in the dtype of the next product: a float32 copy of a large batch would cost more time.
            grad = through_activation(multiply(narrow, mapped[index], narrow.dtype), inputs[index], plan.activation)
    dx = multiply(narrow, mapped[0], torch.float32) if needs_input else None
    return dx, dws, dbs


def torch_linear(x: Tensor, weight: Tensor, bias: Tensor, activation: Activation, dtype: torch.dtype) -> Tensor:
    """Implement `Linear` with torch's own product, in the dtype of ``x`` and ``weight``."""
    if x.dtype == dtype:
        return reference.activate(torch.nn.functional.linear(x, weight, bias.to(dtype)), activation)
    return reference.activate(product(x, weight.T, dtype).add_(bias), activation)
