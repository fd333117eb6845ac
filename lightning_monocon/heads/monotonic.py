# SPDX-License-Identifier: Apache-2.0
"""Define the monotonic head of MonoCon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.heads.arguments import directions_of, layer_widths
from lightning_monocon.heads.base import Head
from lightning_monocon.heads.falsify import NotMonotoneError, box_corners, find_counterexample
from lightning_monocon.heads.init import Init, initialize_
from lightning_monocon.kernels.monotone_linear import Activation, Backend, Precision
from lightning_monocon.kernels.monotone_linear.reference import Positive


class MonotonicMLP(Head):
    r"""Map features to an embedding whose every output is monotone in every input: MonoCon's head.

    .. math::
        z_0 = x,\quad z_l = \phi(z_{l-1} g(W_l)^T + b_l),\quad y = z_L g(W_{out})^T + b_{out},\quad g \ge 0

    Every output is non-decreasing in every feature (or non-increasing, or free, as ``monotone`` defines); with
    LeakyReLU, ReLU or no activation it is also convex in them, if no feature is free. Both hold *before* L2
    normalisation; after it neither does. With ELU or tanh the output is monotone but not convex.

    Weights are mapped in `forward`, so parameters keep the reference's names (``hidden_layers.<i>.weight``,
    ``output_layer.bias``, ...) and its checkpoints load with ``strict=True``. Weight decay acts on the raw weight: on
    ``w^2`` it shrinks like an L1 penalty.

    Each initialisation gives the same effective weights for every parametrisation:

    - ``"reference"``: `nn.Linear`'s default, squared. Rows of the effective weight sum to about 1/3 at any width, so
      units average their inputs and the untrained output is nearly one-dimensional. Free columns keep the default
      itself, which is larger by about ``sqrt(in_features)`` than its square.
    - ``"identity"``: keeps the encoder's spectrum. Hidden unit j carries feature ``j mod D`` plus 4, which puts it on
      the straight branch of the activation; the output layer averages the copies and takes the 4 off, so ``y`` is
      ``x`` (``-x`` for decreasing features) up to a leak of 1 %. Features below -4 bend: scale them first. tanh has
      no straight branch: there the first layer scales by 0.1 and the last by 10. Narrow layers average features.
    - ``"lognormal"``: log-normal weights and a negative bias shift that keep the pre-activations centred, with variance
      1 and correlation 1/2 between units over draws of the weights (Hoedt & Klambauer, NeurIPS 2023). It takes the
      features for an earlier layer's output, as pooled ReLU features are: non-negative, of second moment about 1/2.

    Args:
        in_features: Width D of the encoder's features.
        hidden_features: Width of every hidden layer; None means 2 D.
        out_features: Width of the embedding; None means D.
        num_layers: Number of hidden layers, at least 1.
        parametrization: ``g``: ``"square"`` (the paper), ``"exp"``, ``"softplus"`` or ``"abs"``.
        activation: ``phi``: ``"leaky_relu"``, ``"relu"``, ``"elu"``, ``"tanh"`` or ``"linear"``.
        init: ``"reference"``, ``"identity"`` or ``"lognormal"``.
        monotone: Direction per feature, (in_features,): +1 non-decreasing, -1 non-increasing, 0 free (the other
            features stay exactly monotone). None means all +1. If given, it is part of the state dict.
        precision: Precision of products; see `lightning_monocon.kernels.monotone_linear.monotone_mlp`.
        backend: ``"auto"``, ``"torch"`` or ``"triton"``; see there.

    Raises:
        ValueError: If a size is not a positive integer, a name is unknown, or ``monotone`` has a wrong shape or value.

    Example:
        >>> head = MonotonicMLP(4, monotone=[1, 1, -1, 0])
        >>> bool((head(torch.zeros(4)) <= head(torch.tensor([1.0, 1.0, -1.0, 0.0]))).all())
        True
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        num_layers: int = 1,
        *,
        parametrization: Positive = "square",
        activation: Activation = "leaky_relu",
        init: Init = "reference",
        monotone: Tensor | Sequence[int] | None = None,
        precision: Precision = "auto",
        backend: Backend = "auto",
    ) -> None:
        widths = layer_widths(in_features, hidden_features, out_features, num_layers)
        super().__init__(widths, activation, precision, backend)
        check_choice("parametrization", parametrization, get_args(Positive))
        check_choice("init", init, get_args(Init))
        self.parametrization = parametrization
        self.init: Init = init
        self.monotone = None if monotone is None else directions_of(monotone, in_features)
        initialize_(self.layers, init, parametrization, activation, self.monotone)

    def reset_parameters(self) -> None:
        """Draw the parameters again, as the constructor does."""
        for layer in self.layers:
            layer.reset_parameters()
        initialize_(self.layers, self.init, self.parametrization, self.activation, self.monotone)

    @torch.no_grad()
    def assert_monotone(self, x: Tensor, n: int = 1000, generator: torch.Generator | None = None) -> None:
        """Try to falsify monotonicity on ``n`` ordered pairs that start at rows of ``x`` (N, in_features), in float64.

        Passing proves nothing beyond the trials: it guards against broken weights, and against overridden code.

        Raises:
            NotMonotoneError: With the worst pair found as its `counterexample`.
            ValueError: If ``x`` has a wrong shape, no row, or a number that is not finite; or if ``n`` < 1.
        """
        found = find_counterexample(self, x.double(), self._directions_like(x), n, generator=generator)
        if found is not None:
            raise NotMonotoneError(found)

    def bounds(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the exact least and greatest output over the box from ``lower`` to ``upper``, in two forward passes.

        Both are attained at the two corners of the box that the directions name, up to rounding of the forward pass.

        Args:
            lower: Lower corner (..., in_features), finite.
            upper: Upper corner of the same shape, nowhere below ``lower``, and equal to it in free features: the
                extremes of a free feature may lie inside its interval and differ from output to output.

        Raises:
            ValueError: If a shape or a value breaks these rules.
        """
        least, greatest = box_corners(lower, upper, self._directions_like(lower))
        return self(least), self(greatest)

    def extra_repr(self) -> str:
        """Return the options that the sizes of the children do not show."""
        return f"parametrization={self.parametrization!r}, init={self.init!r}, {super().extra_repr()}"

    def _directions_like(self, x: Tensor) -> Tensor:
        return torch.ones(self.in_features, device=x.device) if self.monotone is None else self.monotone
