# SPDX-License-Identifier: Apache-2.0
"""What each anchor of the supervised contrastive loss is pulled towards, from class sums alone.

    Gamma_c = sum_{j : y_j = c} z_j                      one pass over the rows, O(N D)
    mu_i    = (Gamma_{y_i} - z_i) / |P(i)|               mean of the positives; 0 where there is none
    u_i     = [i counts] / (number of anchors averaged)  weight of anchor i in the mean

so no pair of labels is ever compared. Shapes do not depend on the values of the labels, and nothing waits for the
device, except in the rule that has to look at the labels to raise.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Singletons = Literal["zero", "skip", "error"]


class AnchorTerms(NamedTuple):
    """Positives and weights of the anchors ``start : start + M`` among N rows."""

    mean_positive: Tensor
    """``(M, D)``, the mean of an anchor's positives, 0 where there is none."""
    weight: Tensor
    """``(M,)``, the anchor's share in the mean loss, 0 where it does not count."""


def class_ids(labels: Tensor) -> Tensor:
    """Return ids ``0 .. number of classes - 1`` for integer labels ``(N,)``, in the order of the labels.

    Example:
        >>> class_ids(torch.tensor([7, -2, 7, 9]))
        tensor([1, 0, 1, 2])
    """
    order = labels.argsort()
    ordered = labels[order]
    steps = (ordered[1:] != ordered[:-1]).cumsum(0)
    ids = torch.zeros_like(labels, dtype=torch.int64)
    ids[order[1:]] = steps
    return ids


def anchor_terms(
    rows: Tensor,
    labels: Tensor,
    anchors: slice,
    *,
    singletons: Singletons = "zero",
    ignore_index: int | None = None,
) -> AnchorTerms:
    """Return the mean positive and the weight of each anchor.

    Args:
        rows: All rows of the contrast set, ``(N, D)``.
        labels: Their integer labels, ``(N,)``.
        anchors: The rows that are anchors here.
        singletons: What an anchor without a positive does to the mean: counts as 0, is left out, or raises.
        ignore_index: Rows with this label are no anchors.

    Raises:
        ValueError: With ``singletons="error"``, if an anchor has no positive. All ranks see all labels, so all raise.
    """
    ids = class_ids(labels)
    ones = rows.new_ones(len(rows))
    others = ones.new_zeros(len(rows)).index_add_(0, ids, ones)[ids] - 1
    sums = torch.zeros_like(rows).index_add_(0, ids, rows)
    valid = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
    paired = valid & (others > 0)
    if singletons == "error":
        _refuse_singletons(labels, valid & ~paired)
    averaged = (paired if singletons == "skip" else valid).sum().clamp_min(1)
    pull = sums[ids[anchors]].sub_(rows[anchors]).div_(others[anchors].clamp_min(1).unsqueeze(1))
    return AnchorTerms(pull, paired[anchors].to(rows.dtype) / averaged)


def _refuse_singletons(labels: Tensor, alone: Tensor) -> None:
    count = int(alone.sum())
    if count:
        first = int(labels[alone][0])
        raise ValueError(
            f"`labels` must give every row a positive when singletons='error'; {count} of {len(labels)} rows are alone "
            f"in their class (label {first} is the first). Sample at least two rows per class, or pass "
            "singletons='zero' or 'skip'."
        )
