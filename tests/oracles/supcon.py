# SPDX-License-Identifier: Apache-2.0
"""The supervised contrastive loss written out in float64 and left to autograd (Khosla et al. 2020, equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def supcon(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 0.1,
    normalize: bool = True,
    singletons: str = "zero",
    ignore_index: int | None = None,
) -> Tensor:
    """Return the loss of ``(N, D)`` embeddings, one anchor after the other."""
    rows = embeddings.double()
    if ignore_index is not None:
        kept = [k for k, label in enumerate(labels.tolist()) if label != ignore_index]
        rows, labels = rows[kept], labels[kept]
    if normalize:
        rows = rows / (rows * rows).sum(1, keepdim=True).sqrt()
    logits = rows @ rows.T / temperature
    terms = []
    names = labels.tolist()
    for i, label in enumerate(names):
        others = [j for j in range(len(names)) if j != i]
        positives = [j for j in others if names[j] == label]
        if positives:
            terms.append(-(logits[i, positives] - torch.logsumexp(logits[i, others], 0)).mean())
    count = len(terms) if singletons == "skip" else len(names)
    return torch.stack(terms).sum() / count if terms else (embeddings.double() * 0).sum()


def cross_supcon(
    anchors: Tensor,
    contrast: Tensor,
    labels: tuple[Tensor, Tensor],
    temperature: float | Tensor = 0.1,
    normalize: bool = True,
    singletons: str = "zero",
    ignore_index: int | None = None,
) -> Tensor:
    """Return the loss of anchors among the rows of another set, one anchor after the other."""
    sides = [anchors.double(), contrast.double()]
    names = [side.tolist() for side in labels]
    for k in (0, 1):
        kept = [i for i, name in enumerate(names[k]) if name != ignore_index or ignore_index is None]
        sides[k], names[k] = sides[k][kept], [names[k][i] for i in kept]
        if normalize:
            sides[k] = sides[k] / (sides[k] * sides[k]).sum(1, keepdim=True).sqrt()
    terms = []
    for row, name in zip(sides[0], names[0], strict=True):
        logits = sides[1] @ row / temperature
        positives = [j for j, other in enumerate(names[1]) if other == name]
        if positives:
            terms.append(torch.log(torch.exp(logits - logits.max().detach()).sum()) + logits.max().detach())
            terms[-1] = terms[-1] - logits[positives].mean()
    count = len(terms) if singletons == "skip" else len(names[0])
    return torch.stack(terms).sum() / count if terms else (anchors.double() * 0).sum()


def rounding(
    anchors: Tensor, contrast: Tensor | None, labels: tuple[Tensor, Tensor], temperature: float, normalize: bool = True
) -> tuple[float, float, float, float]:
    """Return what float32 may do to the loss and, as norms, to the gradients of both sets and of the temperature.

    Attraction and repulsion cancel where rows are alike: what is left rounds as the sum of both does. A logit of unit
    rows errs by some units of 2^-24 over T, and a weight of a pair by as much relative to itself. Without a second
    set the rows are contrasted with one another. Ignored and single rows count too, which only adds to the allowance.
    """
    rows = anchors.detach().double().cpu()
    others = rows if contrast is None else contrast.detach().double().cpu()
    lengths = [side.norm(dim=1, keepdim=True).clamp_min(1e-300) for side in (rows, others)]
    if normalize:
        rows, others = rows / lengths[0], others / lengths[1]
    logits = rows @ others.T / temperature
    alike = labels[0].cpu()[:, None] == labels[1].cpu()[None]
    if contrast is None:
        logits.fill_diagonal_(-torch.inf)
        alike = alike & ~torch.eye(len(rows), dtype=torch.bool)
    weights = logits.softmax(1).nan_to_num() + alike / alike.sum(1, keepdim=True).clamp_min(1)  # both, not their gap
    unit = 2.0**-24
    sizes = rows.norm(dim=1)[:, None] * others.norm(dim=1)[None] / temperature
    terms = 8 + 4 * max(rows.shape) ** 0.5
    relative = unit * (terms + 8 * sizes.max().item())
    upstream = weights / len(rows)
    by_rows, by_others = upstream @ others.norm(dim=1), upstream.T @ rows.norm(dim=1)
    if contrast is None:
        by_rows = by_others = by_rows + by_others
    sides = [
        2 * (side / (length[:, 0] if normalize else 1.0)).norm().item() / temperature
        for side, length in zip((by_rows, by_others), lengths, strict=True)
    ]
    loss = (upstream * sizes).sum().item() + 1
    return (
        relative * loss,
        relative * sides[0],
        relative * sides[1],
        relative * (upstream * sizes).sum().item() / temperature,
    )


def reference_code(embeddings: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the loss as the paper's published code computes it, with its 1e-9 in the logarithm and the count."""
    rows = torch.nn.functional.normalize(embeddings, dim=1)
    count = len(rows)
    logits = rows @ rows.T / temperature
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    off_diagonal = 1 - torch.eye(count, dtype=rows.dtype)
    positive = (labels[:, None] == labels[None]).to(rows.dtype) * off_diagonal
    denominator = (logits.exp() * off_diagonal).sum(1, keepdim=True)
    log_probability = logits - torch.log(denominator + 1e-9)
    return -((positive * log_probability).sum(1) / (positive.sum(1) + 1e-9)).mean()
