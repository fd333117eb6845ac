# SPDX-License-Identifier: Apache-2.0
"""The monotone stack in float64, written as sums over units; its gradients come from autograd. And problems for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

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


def problem(
    sizes: Sequence[int], rows: int, dtype: torch.dtype = torch.float32, parametrization: str = "square"
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Draw rows (rows, sizes[0]), raw weights and biases of a stack with these widths, from a seed of its own.

    Effective rows sum to about one in every parametrization: a saturated activation would hide errors or enlarge them.
    """
    generator = torch.Generator().manual_seed(1000 * sum(sizes) + rows)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    shifted = parametrization in ("exp", "softplus")
    weights = [draw(n, k) / k**0.5 - (math.log(k) if shifted else 0) for k, n in pairwise(sizes)]
    return draw(rows, sizes[0]), weights, [0.3 * draw(n) for n in sizes[1:]]


def directions(width: int) -> Tensor:
    """Return a fixed mixture of +1, -1 and 0."""
    return torch.tensor([(1, -1, 0, 1, 1, 0, -1)[k % 7] for k in range(width)], dtype=torch.int8)


CURVED = ("elu", "tanh")  # where an error of z moves the slope; the other activations are straight but at 0


def _sizes_of_map(weight: Tensor, parametrization: str, signs: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return |g(w)| and |g'(w)|; a column whose sign is 0 holds the raw weight."""
    raw = weight.double().requires_grad_()
    mapped = positive(raw, parametrization)
    slope = torch.autograd.grad(mapped.sum(), raw)[0].abs()
    if signs is None or parametrization == "none":
        return mapped.detach().abs(), slope
    free = signs.cpu() == 0
    return torch.where(free, raw.detach().abs(), mapped.detach().abs()), slope.masked_fill(free, 1.0)


def magnitudes(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    upstream: Tensor,
    parametrization: str = "square",
    activation: str = "leaky_relu",
    signs: Tensor | None = None,
    output_activation: str = "linear",
) -> list[Tensor]:
    """Return the summed magnitudes of the terms of the output and of the gradients of x, weights and biases.

    Rounding is relative to these, not to the value, which is small where large terms cancel (Higham, Accuracy and
    Stability of Numerical Algorithms, section 4.2). No activation has a slope above 1.
    """
    sizes, maps = [x.double().abs()], []
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        maps.append(_sizes_of_map(weight, parametrization, signs if index == 0 else None))
        sizes.append(sizes[-1] @ maps[-1][0].T + (0 if bias is None else bias.double().abs()))
    of_weights: list[Tensor] = []
    of_biases: list[Tensor] = []
    back, last = upstream.double().abs(), len(weights) - 1
    for index in range(last, -1, -1):
        mapped, slope = maps[index]
        if (output_activation if index == last else activation) in CURVED:
            back = back * (1 + sizes[index + 1])
        of_weights.insert(0, back.T @ sizes[index] * slope)
        if biases[index] is not None:
            of_biases.insert(0, back.sum(0))
        back = back @ mapped
    return [sizes[-1], back, *of_weights, *of_biases]


def rounding(rows: int, weights: Sequence[Tensor], product: float = 2.0**-24) -> float:
    """Return what rounding may do, relative to `magnitudes`, where each product errs by at most ``product``.

    A sum of n float32 terms in any order errs by about ``sqrt(n)`` units of 2^-24 (Higham and Mary 2019, A New Approach
    to Probabilistic Rounding Error Analysis: four times that is practically certain), and the maps and activations by
    a few more, as they go by way of exp2. Layers add up.
    """
    longest = max([rows, *(n for weight in weights for n in weight.shape)])
    return len(weights) * (product + (4 * longest**0.5 + 8) * 2.0**-24)
