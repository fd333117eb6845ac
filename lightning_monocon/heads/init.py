# SPDX-License-Identifier: Apache-2.0
r"""Initialise the weights of a stack of monotone layers.

Every initialisation is written for the *effective* weight (the one that multiplies the input); `raw_weight` then
inverts the parametrisation, so that the initial network is the same for every ``g``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_monocon.kernels.monotone_linear import reference
from lightning_monocon.kernels.monotone_linear.reference import Activation, Parametrization

Init = Literal["reference", "identity", "lognormal"]
FreeInit = Literal["default", "squared", "identity", "lognormal"]
"""Initialisations of an unconstrained head: its own, or the effective weights of a monotonic one."""

SMALLEST = 1e-8
"""Least effective weight: exp and softplus have no zero, and a square's gradient vanishes at it."""

IDENTITY_SHIFT = 4.0
"""Bias that keeps features above -4 on the straight branch of the activation."""

IDENTITY_TANH_SCALE = 0.1
"""Tanh bends by less than 1 % below 0.17, so features up to 1.7 in size pass it straight at this scale."""

IDENTITY_LEAK = 0.01
"""Mean share of a unit's weight that goes to other features: it breaks the symmetry between copies."""

_RAW: dict[str, Callable[[Tensor], Tensor]] = {
    "square": torch.sqrt,
    "exp": torch.log,
    # log(exp(p) - 1), without overflow
    "softplus": lambda p: p + torch.log(-torch.expm1(-p)),
    "abs": lambda p: p,
}


def raw_weight(effective: Tensor, parametrization: Parametrization, signs: Tensor | None = None) -> Tensor:
    """Return the raw weight whose effective weight is ``effective``, both (N, K).

    Magnitudes below 1e-8 become 1e-8. Columns with sign 0 are their own raw weight; with ``"none"`` all are.

    Args:
        effective: The effective weight; its sign follows ``signs`` in every signed column.
        parametrization: The map to invert.
        signs: Signs (K,) of +1, -1 and 0, or None for all +1.
    """
    if parametrization == "none":
        return effective
    raw = _RAW[parametrization](effective.abs().clamp_min(SMALLEST))
    return raw if signs is None else torch.where(signs == 0, effective, raw)


@torch.no_grad()
def initialize_(
    layers: Sequence[nn.Linear],
    init: Init,
    parametrization: Parametrization,
    activation: Activation,
    signs: Tensor | None = None,
) -> None:
    """Turn `nn.Linear` layers with their default parameters, input side first, into the wanted start.

    `lightning_monocon.heads.MonotonicMLP` documents the choices. ``"reference"`` with squares draws nothing: a seed
    gives the parameters that plain `nn.Linear` layers would get. With the parametrisation ``"none"`` a layer holds the
    effective weight itself: the unconstrained twin of a monotonic head, started from the same function.
    """
    last = len(layers) - 1
    for index, layer in enumerate(layers):
        layer_signs = signs if index == 0 else None
        if init == "reference":
            _reference_(layer, parametrization, layer_signs)
            continue
        if init == "identity":
            effective, bias = _identity(layer, activation, first=index == 0, last=index == last)
        else:
            effective, bias = _lognormal(layer, activation, layer_signs)
        if layer_signs is not None and init == "identity":
            effective = effective * torch.where(layer_signs == -1, -1, 1)
        layer.weight.copy_(raw_weight(effective, parametrization, layer_signs))
        layer.bias.copy_(bias)


def _reference_(layer: nn.Linear, parametrization: Parametrization, signs: Tensor | None) -> None:
    """Take `nn.Linear`'s default as the raw weight of ``g(w) = w^2``; other maps get the same effective weight."""
    if parametrization == "square":
        return
    default = layer.weight.clone()
    raw = raw_weight(default.square(), parametrization)
    layer.weight.copy_(raw if signs is None else torch.where(signs == 0, default, raw))


def _identity(layer: nn.Linear, activation: Activation, *, first: bool, last: bool) -> tuple[Tensor, Tensor]:
    """Return an effective weight that copies (or averages) features, and the bias that keeps them unbent."""
    rows, columns = layer.weight.shape
    width = min(rows, columns)
    index = torch.arange(max(rows, columns), device=layer.weight.device) % width
    path = (index[:rows, None] == index[None, :columns]).to(layer.weight.dtype)
    leak = torch.rand_like(path) * (2 * IDENTITY_LEAK / columns)
    weight = path / path.sum(dim=1, keepdim=True) * (1 - IDENTITY_LEAK) + leak
    bias = torch.zeros_like(layer.bias)
    if activation == "tanh":
        weight = weight * (IDENTITY_TANH_SCALE if first else 1.0) / (IDENTITY_TANH_SCALE if last else 1.0)
    elif activation != "linear" and first:
        bias += IDENTITY_SHIFT
    if activation not in ("tanh", "linear") and last:
        bias -= IDENTITY_SHIFT
    return weight, bias


def _lognormal(layer: nn.Linear, activation: Activation, signs: Tensor | None) -> tuple[Tensor, Tensor]:
    r"""Return log-normal weights and the bias that centres the pre-activations.

    Hoedt & Klambauer, "Principled Weight Initialisation for Input-Convex Neural Networks" (NeurIPS 2023): with
    weights of mean m and variance v, a layer's pre-activations keep, over draws of the weights, mean 0, variance 1 and
    correlation 1/2 between units if

        N m^2 (Var[phi] + (N - 1) Cov[phi, phi']) = 1/2,    N v E[phi^2] = 1/2,    b = -N m E[phi].

    Their ReLU constants follow from these; here the moments are those of the activation at hand.
    """
    mean, square, cross = activation_moments(activation)
    rows, fan_in = layer.weight.shape
    m2 = 0.5 / (fan_in * (square - mean**2 + (fan_in - 1) * (cross - mean**2)))
    v = 0.5 / (fan_in * square)
    log_variance = math.log1p(v / m2)
    normal = torch.randn_like(layer.weight)
    effective = torch.exp(normal * math.sqrt(log_variance) + 0.5 * (math.log(m2) - log_variance))
    directions = layer.weight.new_ones(fan_in) if signs is None else signs.to(layer.weight.dtype)
    free = normal * math.sqrt(m2 + v)  # same second moment, no direction
    effective = torch.where(directions == 0, free, directions * effective)
    return effective, layer.bias.new_full((rows,), -math.sqrt(m2) * mean * float(directions.sum()))


def activation_moments(activation: Activation, correlation: float = 0.5) -> tuple[float, float, float]:
    """Return E[phi(s)], E[phi(s)^2] and E[phi(s) phi(t)] for standard normal s, t with ``correlation``.

    By the trapezoidal rule on [-8, 8]^2 in float64 (relative error below 1e-4, kinks included).
    """
    s = torch.linspace(-8, 8, 641, dtype=torch.float64)
    density = torch.exp(-0.5 * s**2)
    density /= density.sum()
    t = correlation * s[:, None] + math.sqrt(1 - correlation**2) * s[None, :]
    phi_s, phi_t = (reference.activate(v.clone(), activation) for v in (s, t))
    mean = float(density @ phi_s)
    square = float(density @ phi_s**2)
    return mean, square, float((density * phi_s) @ (phi_t @ density))
