# SPDX-License-Identifier: Apache-2.0
r"""Enclose what a stack of linear layers can return over a box of features.

A zonotope passes a linear layer exactly. At an activation :math:`\phi` over ``[l, u]`` each unit is put between two
lines of one slope s (Singh et al., NeurIPS 2018), :math:`s a + m - d \le \phi(a) \le s a + m + d`, and d becomes a
generator of its own. For the piecewise linear activations s is the chord's slope, which gives the least d; for the
smooth ones it is the smaller of the slopes at l and u, so that :math:`\phi(a) - s a` rises from l to u.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from lightning_monocon.functional.certified_neighbours import Zonotope
from lightning_monocon.kernels.monotone_linear.reference import NEGATIVE_SLOPE, Activation, activate

_KINK_SLOPES = {"linear": 1.0, "leaky_relu": NEGATIVE_SLOPE, "relu": 0.0}
"""Slopes below zero of the piecewise linear activations."""


def zonotope_through(
    lower: Tensor, upper: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: Activation
) -> Zonotope:
    """Return a zonotope that holds every output of the layers over each box from ``lower`` to ``upper``, (Q, K).

    Args:
        lower: Lower corners (Q, K).
        upper: Upper corners (Q, K).
        weights: What multiplies the features, (N_l, N_{l-1}) per layer, input side first.
        biases: (N_l,) per layer.
        activation: Between the layers.
    """
    # the box itself is a diagonal of generators, which would be slow to multiply
    centre = linear((lower + upper) / 2, weights[0], biases[0])
    generators = (upper - lower)[:, :, None] / 2 * weights[0].T
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        centre, generators = _activated(centre, generators, activation)
        centre, generators = linear(centre, weight, bias), linear(generators, weight)
    return Zonotope(centre, generators)


def _activated(centre: Tensor, generators: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    reach = generators.abs().sum(1)
    slope, least, greatest = _lines(centre - reach, centre + reach, activation)
    half = (greatest - least) / 2
    own = torch.diag_embed(half)[:, (half > 0).any(0)]
    return slope * centre + least + half, torch.cat([slope[:, None] * generators, own], dim=1)


def _lines(lower: Tensor, upper: Tensor, activation: Activation) -> tuple[Tensor, Tensor, Tensor]:
    """Return a slope for each interval, and the least and greatest of ``phi(a) - slope * a`` in it."""
    low, high = (activate(end.clone(), activation) for end in (lower, upper))
    if activation in _KINK_SLOPES:
        slope = ((high - low) / (upper - lower)).nan_to_num(1.0).clamp(_KINK_SLOPES[activation], 1.0)
        ends = torch.stack([low - slope * lower, high - slope * upper])
        kink = torch.where((lower < 0) & (upper > 0), 0.0, ends[0])
        return slope, torch.minimum(ends.amin(0), kink), torch.maximum(ends.amax(0), kink)
    # both have their smallest slope in an interval at one of its ends: e^a below 0, 1 - tanh(a)^2
    slopes = [(end + 1).clamp(max=1.0) if activation == "elu" else 1 - end.square() for end in (low, high)]
    slope = torch.minimum(*slopes)
    return slope, low - slope * lower, high - slope * upper
