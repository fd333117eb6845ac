# SPDX-License-Identifier: Apache-2.0
"""CLIP's and SigLIP's losses of pairs in float64, one row after the other, left to autograd."""

from __future__ import annotations

import torch
from torch import Tensor


def clip(first: Tensor, second: Tensor, temperature: float | Tensor, normalize: bool = True) -> Tensor:
    """Return the mean of the cross-entropies of each row among the other side's rows, in both directions."""
    sides = _sides(first, second, normalize)
    terms = []
    for rows, others in (sides, sides[::-1]):
        for i, row in enumerate(rows):
            logits = others @ row / temperature
            top = logits.max().detach()
            terms.append((logits - top).exp().sum().log() + top - logits[i])
    return torch.stack(terms).mean() if terms else (first.double() * 0).sum()


def siglip(
    first: Tensor, second: Tensor, temperature: float | Tensor, bias: float | Tensor, normalize: bool = True
) -> Tensor:
    """Return the sum of the logistic losses of all pairs of rows over the number of rows."""
    rows, others = _sides(first, second, normalize)
    zero = torch.zeros((), dtype=torch.float64)
    terms = [(first.double() * 0).sum()]
    for i, row in enumerate(rows):
        for j, other in enumerate(others):
            logit = row @ other / temperature + bias
            terms.append(torch.logaddexp(zero, -logit if i == j else logit))
    return torch.stack(terms).sum() / max(len(first), 1)


def _sides(first: Tensor, second: Tensor, normalize: bool) -> tuple[Tensor, Tensor]:
    sides = first.double(), second.double()
    if not normalize:
        return sides
    return sides[0] / sides[0].square().sum(1, True).sqrt(), sides[1] / sides[1].square().sum(1, True).sqrt()
