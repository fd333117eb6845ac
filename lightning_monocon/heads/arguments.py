# SPDX-License-Identifier: Apache-2.0
"""Check the arguments of the heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def layer_widths(in_features: int, hidden: int | None, out: int | None, num_layers: int) -> list[int]:
    """Return the width before, between and after the layers; raise a ValueError unless all are positive integers."""
    first = positive_size("in_features", in_features)
    middle = positive_size("hidden_features", 2 * first if hidden is None else hidden)
    return [
        first,
        *[middle] * positive_size("num_layers", num_layers),
        positive_size("out_features", first if out is None else out),
    ]


def positive_size(name: str, value: int) -> int:
    """Return ``value``; raise a ValueError unless it is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer; got {value!r}.")
    return value


def directions_of(monotone: Tensor | Sequence[int], in_features: int) -> Tensor:
    """Return the directions as int8, (in_features,); raise a ValueError unless they are as many +1, -1 and 0."""
    try:
        directions = torch.as_tensor(monotone)
    except (TypeError, ValueError, RuntimeError):  # torch takes no words
        directions = torch.empty(0)
    if directions.shape != (in_features,) or not bool(torch.isin(directions, torch.tensor([-1, 0, 1])).all()):
        raise ValueError(
            f"`monotone` must hold {in_features} numbers out of +1, -1 and 0, one per feature; got {monotone!r}. Leave "
            "it out for a head that rises in every feature."
        )
    return directions.to(torch.int8)
