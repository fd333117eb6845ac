# SPDX-License-Identifier: Apache-2.0
"""Define the rivals of the monotonic head: its unconstrained twin, and a linear bottleneck."""

from __future__ import annotations

from typing import get_args

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.heads.arguments import layer_widths, positive_size
from lightning_monocon.heads.base import Head
from lightning_monocon.heads.init import FreeInit, initialize_
from lightning_monocon.kernels.monotone_linear import Activation, Backend, Precision


class LinearHead(Head):
    """Map features by one linear layer: a bottleneck, the simplest rival at ``out_features`` dimensions.

    Args:
        in_features: Width of the encoder's features.
        out_features: Width of the embedding.

    Raises:
        ValueError: If a size is not a positive integer.

    Example:
        >>> import torch
        >>> LinearHead(8, 2)(torch.zeros(3, 8)).shape
        torch.Size([3, 2])
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        widths = [positive_size("in_features", in_features), positive_size("out_features", out_features)]
        super().__init__(widths, "linear")


class MLPHead(Head):
    """Map features by the unconstrained twin of `MonotonicMLP`: same sizes, names and activation, free weights.

    Args:
        in_features: Width D of the encoder's features.
        hidden_features: Width of every hidden layer; None means 2 D.
        out_features: Width of the embedding; None means D.
        num_layers: Number of hidden layers, at least 1.
        activation: After every hidden layer: ``"leaky_relu"``, ``"relu"``, ``"elu"``, ``"tanh"`` or ``"linear"``.
        init: ``"default"`` is `nn.Linear`'s. ``"squared"``, ``"identity"`` and ``"lognormal"`` start from the effective
            weights of a `MonotonicMLP` (``"squared"`` from its ``"reference"``): with one seed both heads start as the
            same function, and only the constraint makes them differ.
        precision: Precision of products; see `lightning_monocon.kernels.monotone_linear.monotone_mlp`.
        backend: ``"auto"``, ``"torch"`` or ``"triton"``; see there.

    Raises:
        ValueError: If a size is not a positive integer, or a name is unknown.

    Example:
        >>> import torch
        >>> MLPHead(8)(torch.zeros(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        num_layers: int = 1,
        *,
        activation: Activation = "leaky_relu",
        init: FreeInit = "default",
        precision: Precision = "auto",
        backend: Backend = "auto",
    ) -> None:
        widths = layer_widths(in_features, hidden_features, out_features, num_layers)
        super().__init__(widths, activation, precision, backend)
        check_choice("init", init, get_args(FreeInit))
        if init != "default":
            initialize_(self.layers, "reference" if init == "squared" else init, "none", activation)
