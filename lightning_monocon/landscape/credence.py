# SPDX-License-Identifier: Apache-2.0
"""Measure credence, the probability that a network gives to the right answer, and fallibility, its mean surprise.

    classifier     c_i = softmax(logits_i)[y_i]
    encoder        c_i = sum_{j in B, j != i} w_ij [y_j = y_i],   w_ij = softmax_j(cos(z_i, z_j) / temperature)
    fallibility    F_s = mean_{i in s} -log c_i

F_s estimates eq. 1 of arXiv 2307.09550, sum_x KL(P_GT || P_H), on the inputs of a probe: for a deterministic truth
the divergence is the negative log-likelihood. The paper sums over all inputs; this module returns means over the
stratum, and the part on unseen inputs (eq. 2) cannot be measured. Credence is invariant to anything that leaves
P_H(y_i | x_i) unchanged: permuted units, and for an encoder rotations and a global scale of the embeddings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, check_labels
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.landscape.strata import ArrayLike, Strata, check_credence, parse_strata

CREDENCE_FLOOR = 1e-6
PIECE = 2**22
"""Logits of which the softmax is taken at a time: a copy of all may not fit beside a large vocabulary."""


class Fallibility(NamedTuple):
    """Hold the mean surprise in nats per stratum, their sum (eq. 2 without the unseen part), and the clipped share."""

    strata: dict[str, float]
    total: float
    clipped: dict[str, float]


def credence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the probability ``(N,)`` that ``(N, C)`` logits give to ``(N,)`` integer labels, in float32 or wider.

    The softmax is taken piece by piece, so that it needs little memory beside the logits.

    Example:
        >>> credence(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor([0.2500, 0.2500])

    Raises:
        TypeError: If the labels are missing or not integers.
        ValueError: If they are not one per row, or name no column of the logits.
    """
    check_embeddings(logits, "logits")
    check_labels(labels, max(len(logits), 1))
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"`labels` must lie in 0..{logits.shape[1] - 1}, one class per column of `logits`; "
            f"got {int(labels.min())}..{int(labels.max())}."
        )
    wide = torch.promote_types(logits.dtype, torch.float32)
    rows = max(PIECE // logits.shape[1], 1)
    pieces = zip(torch.split(logits, rows), torch.split(labels.long()[:, None], rows), strict=True)
    return torch.cat([part.to(wide).softmax(dim=1).gather(1, named).squeeze(1) for part, named in pieces])


def soft_knn_credence(
    embeddings: Tensor,
    labels: Tensor,
    bank: Tensor | None = None,
    bank_labels: Tensor | None = None,
    *,
    temperature: float = 0.1,
) -> Tensor:
    """Return the share of softly weighted neighbours in a labelled bank that carry the query's own label.

    Args:
        embeddings: Queries ``(N, D)``; only their directions matter.
        labels: Integer labels ``(N,)``.
        bank: Booleans ``(N,)`` or positions ``(B,)`` that choose the bank among the embeddings, where a member is never
            its own neighbour, or other embeddings ``(B, D)``. None chooses all embeddings.
        bank_labels: Integer labels ``(B,)``, for a bank of other embeddings only.
        temperature: Temperature of the softmax over cosines: that of the training loss, or see `match_perplexity`.

    Returns:
        Credences ``(N,)``, in float32 or wider.

    Example:
        >>> z = torch.tensor([[1., 0.], [1., 0.1], [0., 1.], [0.1, 1.]])
        >>> soft_knn_credence(z, torch.tensor([0, 0, 1, 1]), temperature=0.05) > 0.99
        tensor([True, True, True, True])

    Raises:
        TypeError: If labels are missing or not integers.
        ValueError: If shapes disagree, or the temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"`temperature` must be positive, got {temperature}.")
    check_embeddings(embeddings)
    check_labels(labels, max(len(embeddings), 1))
    cosine, neighbour_labels = _similarities(embeddings, labels, bank, bank_labels)
    weights = (cosine / temperature).softmax(dim=1)
    return (weights * (labels[:, None] == neighbour_labels[None])).sum(dim=1).clamp(max=1.0)


def match_perplexity(embeddings: Tensor, perplexity: float = 15.0) -> float:
    """Return the temperature at which the median row of ``(N, D)`` embeddings weighs about ``perplexity`` neighbours.

    It is found by bisection on the log temperature. Set it once per run: credences at different temperatures cannot be
    compared. Keep the perplexity below the number of bank members per class, which caps the credence.

    Raises:
        ValueError: If ``perplexity`` is not between 1 and N - 1.
    """
    if not 1 < perplexity < len(embeddings) - 1:
        raise ValueError(f"`perplexity` must lie between 1 and {len(embeddings) - 1} (N - 1), got {perplexity}.")
    cosine, _ = _similarities(embeddings, torch.arange(len(embeddings)), None, None)
    low, high = np.log(1e-4), np.log(1e2)
    for _ in range(40):
        middle = (low + high) / 2
        log_weights = (cosine / float(np.exp(middle))).log_softmax(dim=1)
        entropy = -torch.where(log_weights.isfinite(), log_weights.exp() * log_weights, 0.0).sum(dim=1)
        low, high = (middle, high) if entropy.exp().median() < perplexity else (low, middle)
    return float(np.exp((low + high) / 2))


def fallibility(credence: ArrayLike, strata: ArrayLike | Strata) -> Fallibility:
    """Return the mean of ``-log c`` in each stratum, with ``c`` clipped at 1e-6, and the clipped share.

    Args:
        credence: Probabilities ``(P,)``.
        strata: Stratum of each probe ``(P,)``: 0 for train and 1 for val, or names.

    Example:
        >>> result = fallibility([1.0, 1.0, 1.0, 0.5, 0.5, 0.0], ["train"] * 3 + ["val"] * 3)
        >>> round(result.strata["val"], 2), result.clipped["val"]
        (5.07, 0.3333333333333333)
    """
    parts = strata if isinstance(strata, Strata) else parse_strata(strata)
    values = check_credence(credence, parts.size)
    means = parts.means(-np.log(np.maximum(values, CREDENCE_FLOOR)))
    clipped = parts.means((values < CREDENCE_FLOOR).astype(np.float64))
    named = {name: float(mean) for name, mean in zip(parts.names, means, strict=True)}
    shares = {name: float(share) for name, share in zip(parts.names, clipped, strict=True)}
    return Fallibility(named, float(means.sum()), shares)


def _similarities(
    embeddings: Tensor, labels: Tensor, bank: Tensor | None, bank_labels: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return cosines ``(N, B)``, -inf where a row would be its own neighbour, and the labels ``(B,)`` of the bank."""
    rows = unit_rows(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)))
    if bank is not None and bank.ndim == 2:
        if bank_labels is None:
            raise ValueError("`bank_labels` must be given with a bank of embeddings, one integer each; got None.")
        check_labels(bank_labels, max(len(bank), 1), "bank_labels")
        return rows @ unit_rows(bank.to(rows.dtype)).T, bank_labels
    members = torch.arange(len(rows), device=rows.device) if bank is None else _positions(bank, len(rows))
    cosine = rows @ rows[members].T
    cosine[members, torch.arange(len(members), device=rows.device)] = -torch.inf
    return cosine, labels[members]


def _positions(bank: Tensor, rows: int) -> Tensor:
    positions = bank.nonzero().squeeze(1) if bank.dtype == torch.bool and len(bank) == rows else bank
    if positions.ndim != 1 or positions.dtype == torch.bool or len(positions) < 2:
        raise ValueError(
            f"`bank` must choose at least two of the {rows} embeddings by position or by ({rows},) booleans, "
            f"or be (B, D) embeddings; got shape {tuple(bank.shape)} of {bank.dtype}."
        )
    return positions.long()
