# SPDX-License-Identifier: Apache-2.0
r"""Compute the monotone layer in plain torch, as every kernel must reproduce it.

One layer, with weight ``W`` of shape (N, K), signs ``s`` in {+1, -1, 0} of shape (K,) and bias ``b`` of shape (N,)::

    y = phi(x V^T + b)          x: (..., K)   y: (..., N)
    V_nk = s_k g(W_nk)  where s_k = +1 or -1,   V_nk = W_nk  where s_k = 0
    g(w) = w^2 | exp(w) | softplus(w) | |w|,    g >= 0

``phi`` is non-decreasing and ``g >= 0``, so ``y`` is non-decreasing in ``x_k`` if ``s_k = +1``, non-increasing if
``s_k = -1`` and free if ``s_k = 0``. Only the first layer of a stack has signs; the later ones are non-negative and
keep the direction.

Ordinary autograd differentiates it: second derivatives, forward mode, `torch.func`, `torch.export` and ONNX work.
Activations act in place on the new product, so autograd keeps one tensor per layer (the output) instead of two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Positive = Literal["square", "exp", "softplus", "abs"]
Parametrization = Literal["square", "exp", "softplus", "abs", "none"]
Activation = Literal["leaky_relu", "relu", "elu", "tanh", "linear"]


NEGATIVE_SLOPE = 0.01  # of LeakyReLU, torch's default and the paper's

PARAMETRIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "square": lambda weight: weight * weight,  # its gradient is two products; that of `square` costs twice as much
    "exp": torch.exp,
    "softplus": F.softplus,
    "abs": torch.abs,
    "none": lambda weight: weight,
}

ACTIVATIONS_: dict[str, Callable[[Tensor], Tensor]] = {  # in place, as torch names them
    "leaky_relu": lambda z: F.leaky_relu_(z, NEGATIVE_SLOPE),
    "relu": torch.relu_,
    "elu": F.elu_,
    "tanh": torch.tanh_,
    "linear": lambda z: z,
}
ACTIVATIONS = tuple(ACTIVATIONS_)


class Plan(NamedTuple):
    """Describe the layers of a stack, apart from their weights."""

    parametrization: Parametrization = "square"
    activation: Activation = "leaky_relu"
    """Activation of every layer but the last."""
    output_activation: Activation = "linear"
    """Activation of the last layer."""
    signs: Tensor | None = None
    """Direction of each input of the stack, (K,) of +1, -1 and 0; None means all +1."""


def activate(z: Tensor, activation: Activation) -> Tensor:
    """Return ``phi(z)``; ``z`` may be overwritten, so pass a new tensor."""
    return ACTIVATIONS_[activation](z)


def effective_weight(
    weight: Tensor, parametrization: Parametrization = "square", signs: Tensor | None = None
) -> Tensor:
    """Return the weight that multiplies the input, (N, K) like the raw one.

    Args:
        weight: Raw weight, (N, K).
        parametrization: The map ``g``; ``"none"`` does not change the weight.
        signs: (K,) of +1, -1 and 0, or None for all +1. Ignored with ``"none"``, whose columns are all free.
    """
    mapped = PARAMETRIZATIONS[parametrization](weight)
    if signs is None or parametrization == "none":
        return mapped
    return torch.where(signs == 0, weight, signs.to(weight.dtype) * mapped)


def monotone_mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    plan: Plan,
    rounding: torch.dtype | None = None,
) -> Tensor:
    """Return the output of the stack, (M, N_L).

    Args:
        x: (M, K), of the same floating dtype as the weights.
        weights: Raw weights, one (N_l, N_{l-1}) per layer.
        biases: One (N_l,) or None per layer.
        plan: The description of the layers; its signs belong to the first.
        rounding: The 16-bit dtype to which both operands of each product are rounded; sums keep the dtype of ``x``.
    """
    parametrization, activation, output_activation, signs = plan
    left = len(weights)
    for weight, bias in zip(weights, biases, strict=True):
        left -= 1
        mapped = effective_weight(weight, parametrization, signs)
        signs = None
        if rounding is not None:
            x, mapped = x.to(rounding).to(x.dtype), mapped.to(rounding).to(x.dtype)
        x = ACTIVATIONS_[activation if left else output_activation](F.linear(x, mapped, bias))
    return x
