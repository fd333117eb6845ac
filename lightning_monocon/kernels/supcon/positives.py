# SPDX-License-Identifier: Apache-2.0
"""Compute the positives of all anchors from sums over classes.

    Gamma_c = sum_{j : y_j = c} z_j                      one pass over the rows, O(N D)
    mu_i    = (Gamma_{y_i} - z_i) / |P(i)|               mean of the positives; 0 where there is none
    u_i     = [i counts] / (number of anchors averaged)  weight of anchor i in the mean

No pair of labels is compared. Shapes do not depend on the values of the labels, and nothing waits for the device,
except with ``singletons="error"``, which has to read the labels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.kernels.supcon.options import Options


class AnchorTerms(NamedTuple):
    """Hold the positives and weights of the anchors ``start : start + M`` among N rows."""

    mean_positive: Tensor
    """``(M, D)``, the mean positive of each anchor, 0 for an anchor without one."""
    paired: Tensor
    """``(M,)``, 1 for an anchor that counts and has a positive, else 0."""
    averaged: Tensor
    """0-d, the number of anchors of all rows that the mean is over, at least 1."""

    @property
    def weight(self) -> Tensor:
        """Return the weight u of each anchor in the mean loss, ``(M,)``."""
        return self.paired / self.averaged


def class_ids(labels: Tensor) -> Tensor:
    """Return ids ``0 .. number of classes - 1`` for integer labels ``(N,)``, in the order of the labels' values.

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


def anchor_terms(rows: Tensor, labels: Tensor, anchors: slice, options: Options) -> AnchorTerms:
    """Return the mean positive and the weight of each anchor.

    Args:
        rows: All rows of the contrast set, ``(N, D)``.
        labels: Their integer labels, ``(N,)``.
        anchors: The rows that are anchors on this rank.
        options: The rule for singletons, and the label to ignore.

    Raises:
        ValueError: With ``singletons="error"``, if an anchor has no positive. All ranks see all labels, so all raise.
    """
    ids = class_ids(labels)
    others = positive_counts(ids)
    valid = valid_rows(labels, options)
    paired = valid & (others > 0)
    if options.singletons == "error":
        refuse_singletons(labels, valid & ~paired)
    averaged = (paired if options.singletons == "skip" else valid).sum().clamp_min(1)
    pull = class_sums(rows, ids)[ids[anchors]].sub_(rows[anchors])
    pull.div_(others[anchors].clamp_min(1).unsqueeze(1))
    return AnchorTerms(pull, paired[anchors].to(rows.dtype), averaged.to(rows.dtype))


def valid_rows(labels: Tensor, options: Options) -> Tensor:
    """Return which rows take part, bool ``(N,)``: all but those with the label to ignore."""
    if options.ignore_index is None:
        return torch.ones_like(labels, dtype=torch.bool)
    return labels != options.ignore_index


def positive_counts(ids: Tensor) -> Tensor:
    """Return how many other rows share the id of each row, ``(N,)``.

    Example:
        >>> positive_counts(torch.tensor([1, 0, 1, 1]))
        tensor([2, 0, 2, 2])
    """
    return torch.zeros_like(ids).index_add_(0, ids, torch.ones_like(ids))[ids] - 1


def class_sums(rows: Tensor, ids: Tensor, classes: int | None = None) -> Tensor:
    """Return the sum of the rows of each id, Gamma ``(classes, D)``; `classes` is N by default."""
    sums = rows.new_zeros((len(rows) if classes is None else classes, rows.shape[1]))
    if rows.is_cuda:
        return sums.index_put_((ids,), rows, accumulate=True)  # it sorts first, so that every run gives the same sum
    return sums.index_add_(0, ids, rows)


def refuse_singletons(labels: Tensor, alone: Tensor) -> None:
    """Raise a ValueError if a row is alone in its class; this waits for the device."""
    count = int(alone.sum())
    if count:
        first = int(labels[alone][0])
        raise ValueError(
            f"`labels` must give every row a positive when singletons='error'; {count} of {len(labels)} rows are alone "
            f"in their class (label {first} is the first). Sample at least two rows per class, or pass "
            "singletons='zero' or 'skip'."
        )
