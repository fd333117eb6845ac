# SPDX-License-Identifier: Apache-2.0
"""Provide the base of all heads: linear layers with an activation between them, summed in float32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lightning_monocon.functional.certified_neighbours import Zonotope
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.heads.falsify import check_box
from lightning_monocon.heads.report import InitReport, init_report
from lightning_monocon.heads.zonotope import zonotope_through
from lightning_monocon.kernels.monotone_linear import Activation, Backend, Precision, effective_weight, monotone_mlp
from lightning_monocon.kernels.monotone_linear.checks import BACKENDS, PRECISIONS
from lightning_monocon.kernels.monotone_linear.reference import ACTIVATIONS, NEGATIVE_SLOPE, Parametrization, activate


class Head(nn.Module):
    """Chain linear layers of the given widths with ``activation`` between; `parametrization` maps every weight."""

    parametrization: Parametrization = "none"
    monotone: Tensor | None

    def __init__(
        self, widths: Sequence[int], activation: Activation, precision: Precision = "auto", backend: Backend = "auto"
    ) -> None:
        super().__init__()
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("precision", precision, PRECISIONS)
        check_choice("backend", backend, BACKENDS)
        self.activation: Activation = activation
        self.precision: Precision = precision
        self.backend: Backend = backend
        self.register_buffer("monotone", None)
        self.in_features, self.out_features = widths[0], widths[-1]
        self.hidden_layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths[:-1]))
        self.output_layer = nn.Linear(widths[-2], widths[-1])

    @property
    def layers(self) -> list[nn.Linear]:
        """Return the layers, input side first; their weights are raw."""
        return [*cast("Iterable[nn.Linear]", self.hidden_layers), self.output_layer]

    @property
    def effective_weights(self) -> list[Tensor]:
        """Return the differentiable weights that multiply the features, (N_l, N_{l-1}) per layer, float32 at least."""
        first, *rest = [
            layer.weight.to(torch.promote_types(layer.weight.dtype, torch.float32)) for layer in self.layers
        ]
        mapped = effective_weight(first, self.parametrization, self.monotone)
        return [mapped, *(effective_weight(weight, self.parametrization) for weight in rest)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding, (..., out_features), of features (..., in_features)."""
        weights, biases = [], []
        for layer in self.layers:  # once: looking a parameter up costs as much as multiplying a small one
            weights.append(layer.weight)
            biases.append(layer.bias)
        return monotone_mlp(
            x,
            weights,
            biases,
            parametrization=self.parametrization,
            signs=self.monotone,
            activation=self.activation,
            precision=self.precision,
            backend=self.backend,
        )

    @torch.no_grad()
    def fold(self) -> nn.Sequential:
        """Return a copy of stock layers only, for inference and export; float32 at least, as the head computes."""
        modules: list[nn.Module] = []
        for layer, weight in zip(self.layers, self.effective_weights, strict=True):
            stock = nn.Linear(layer.in_features, layer.out_features, device=weight.device, dtype=weight.dtype)
            stock.load_state_dict({"weight": weight, "bias": layer.bias})
            modules += [stock, _stock_activation(self.activation)]
        return nn.Sequential(*modules[:-1])

    def bounds(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs that no output over the box from ``lower`` to ``upper`` exceeds, by interval arithmetic.

        They are exact for one layer; through several they widen, since each layer takes the numbers before it for
        independent (Gowal et al. 2018, arXiv 1810.12715). `MonotonicMLP.bounds` is exact.

        Args:
            lower: Lower corner (..., in_features), finite.
            upper: Upper corner of the same shape, nowhere below ``lower``.

        Raises:
            ValueError: If a shape or a value breaks these rules.
        """
        check_box(lower, upper, self.in_features)
        for number, (layer, weight) in enumerate(zip(self.layers, self.effective_weights, strict=True)):
            if number:
                lower, upper = (activate(corner, self.activation) for corner in (lower, upper))
            centre, reach = (upper + lower) / 2, (upper - lower) / 2
            centre, reach = linear(centre, weight, layer.bias.to(weight)), linear(reach, weight.abs())
            lower, upper = centre - reach, centre + reach
        return lower, upper

    def zonotope(self, lower: Tensor, upper: Tensor) -> Zonotope:
        """Return regions that hold every output over each box, and keep how outputs move together.

        They are exact for one layer, and through several tighter than `bounds` where outputs are compared with each
        other (Singh et al., NeurIPS 2018). Memory: (Q, in_features + hidden units, out_features).

        Args:
            lower: Lower corners (Q, in_features), finite.
            upper: Upper corners of the same shape, nowhere below ``lower``.

        Raises:
            ValueError: If a shape or a value breaks these rules.
        """
        check_box(lower, upper, self.in_features)
        if lower.ndim != 2:
            raise ValueError(f"`lower` must be (Q, {self.in_features}); got shape {tuple(lower.shape)}.")
        weights = self.effective_weights
        biases = [layer.bias.to(weight) for layer, weight in zip(self.layers, weights, strict=True)]
        return zonotope_through(lower, upper, weights, biases, self.activation)

    @torch.no_grad()
    def init_report(self, x: Tensor) -> InitReport:
        """Return row sums, and how ``x`` (N, in_features) and the output spread: s1/s2, effective dimension, cosine.

        The reference start of `MonotonicMLP` shows an effective dimension of 1: a collapse.

        Raises:
            ValueError: If there are fewer than two rows, or a number is not finite.
        """
        return init_report(x, self(x), self.effective_weights)

    def extra_repr(self) -> str:
        """Return the options that the sizes of the children do not show."""
        return f"activation={self.activation!r}, backend={self.backend!r}"


def _stock_activation(activation: Activation) -> nn.Module:
    return {
        "leaky_relu": nn.LeakyReLU(NEGATIVE_SLOPE),
        "relu": nn.ReLU(),
        "elu": nn.ELU(),
        "tanh": nn.Tanh(),
        "linear": nn.Identity(),
    }[activation]
