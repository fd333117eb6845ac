# SPDX-License-Identifier: Apache-2.0
"""Heads and features that several tests share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_monocon.heads import MonotonicMLP

PARAMETRIZATIONS = ["square", "exp", "softplus", "abs"]
ACTIVATIONS = ["leaky_relu", "relu", "elu", "tanh", "linear"]
INITS = ["reference", "identity", "lognormal"]


def features(rows: int, width: int, seed: int = 0) -> Tensor:
    """Draw centred features whose standard deviations fall from 2 to 0.1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator) * torch.linspace(2, 0.1, width)


def head(*args: object, seed: int = 0, kind: type[MonotonicMLP] = MonotonicMLP, **kwargs: object) -> MonotonicMLP:
    """Build a frozen head from its own seed; gradients still reach its input."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(*args, **kwargs).requires_grad_(False)


def relu_features(rows: int, width: int) -> Tensor:
    """Draw features as a pooled ReLU encoder gives them: non-negative, correlated."""
    generator = torch.Generator().manual_seed(5)
    mixing = torch.randn(width, width, generator=generator) / width**0.5
    return F.relu(features(rows, width) @ mixing)
