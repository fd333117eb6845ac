# SPDX-License-Identifier: Apache-2.0
"""Pool token features to one vector per text, over the attention mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Pooling = Literal["mean", "cls", "last"]
Inputs: TypeAlias = Mapping[str, Tensor]
"""Output of a tokenizer: ``input_ids`` and ``attention_mask`` ``(B, T)``, and other inputs of the model."""


def pooled(tokens: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return one vector per text, float32 at least.

    Args:
        tokens: Token features ``(B, T, D)``.
        mask: Mask ``(B, T)``, 1 for tokens and 0 for padding, on either side.
        pooling: ``"mean"`` over the tokens, ``"cls"`` for the first token, ``"last"`` for the last one.

    Returns:
        Vectors ``(B, D)``; the mean of a text without a token is 0.
    """
    tokens = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
    if pooling == "mean":
        weights = mask.to(tokens.dtype)
        sums = torch.einsum("btd,bt->bd", tokens, weights)
        return sums / weights.sum(dim=1, keepdim=True).clamp_min(1)
    # argmax finds the first of equal values: counted from the other end for the last token
    chosen = mask.ne(0).int()
    at = chosen.argmax(dim=1) if pooling == "cls" else mask.shape[1] - 1 - chosen.flip(1).argmax(dim=1)
    return tokens[torch.arange(len(tokens), device=tokens.device), at]


def in_length_groups(inputs: Inputs, groups: int, embed: Callable[[Inputs], Tensor]) -> Tensor:
    """Embed a batch in groups of similar length, so that short texts are not padded to the longest one.

    The result equals ``embed(inputs)`` up to rounding and dropout, as padding must not change it.

    Args:
        inputs: A batch of ``B`` texts, each entry ``(B, T)``.
        groups: Number of groups; 1 leaves the batch whole and never waits for the device.
        embed: Maps such a batch to ``(B, D)``.
    """
    mask = inputs["attention_mask"]
    if groups == 1 or len(mask) < 2:
        return embed(inputs)
    ends = mask.shape[1] - mask.ne(0).int().flip(1).argmax(dim=1)
    order = ends.argsort()
    parts = []
    for rows in order.tensor_split(min(groups, len(order))):
        end = int(ends[rows].max())
        parts.append(embed({name: value[rows, :end] for name, value in inputs.items()}))
    return torch.cat(parts)[order.argsort()]


def check_groups(groups: int) -> None:
    """Check the number of length groups; raise ValueError if it is not positive."""
    if groups < 1:
        raise ValueError(f"`length_groups` must be at least 1, got {groups}. Try 4 on a CPU, 1 on a GPU.")
