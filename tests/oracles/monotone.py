# SPDX-License-Identifier: Apache-2.0
"""The monotone stack in float64, written as sums over units, and its gradients by autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def positive(weight: Tensor, parametrization: str) -> Tensor:
    """Return g(w) by the textbook formulas."""
    if parametrization == "square":
        return weight.pow(2)
    if parametrization == "exp":
        return math.e**weight
    if parametrization == "softplus":
        return torch.logaddexp(weight, torch.zeros_like(weight))
    if parametrization == "abs":
        return weight * weight.sign()
    return weight


def activate(z: Tensor, activation: str) -> Tensor:
    """Return phi(z) from elementary functions."""
    if activation == "leaky_relu":
        return torch.where(z > 0, z, 0.01 * z)
    if activation == "relu":
        return torch.where(z > 0, z, 0.0 * z)
    if activation == "elu":
        return torch.where(z > 0, z, torch.expm1(z.clamp_max(0)))
    if activation == "tanh":
        return 2 * torch.sigmoid(2 * z) - 1
    return z


def stack(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    parametrization: str = "square",
    activation: str = "leaky_relu",
    signs: Tensor | None = None,
    output_activation: str = "linear",
) -> Tensor:
    """Return the stack's output in float64; gradients flow to whatever requires them."""
    z = x.double()
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        raw = weight.double()
        mapped = positive(raw, parametrization)
        if index == 0 and signs is not None and parametrization != "none":
            columns = [raw[:, k] if s == 0 else float(s) * mapped[:, k] for k, s in enumerate(signs.tolist())]
            mapped = torch.stack(columns, dim=1) if columns else mapped
        z = torch.einsum("mk,nk->mn", z, mapped)
        if bias is not None:
            z = z + bias.double()
        z = activate(z, output_activation if index == len(weights) - 1 else activation)
    return z
