# SPDX-License-Identifier: Apache-2.0
"""Compute the positives of anchors in another set from sums over classes, as `positives` does for one set.

    Gamma_k = sum_{j : y_j = k} c_j,   mu_i = share_i Gamma_{y_i},   share_i = [i counts] / |P(i)|
    push_j  = sum_{i : y_i = y_j} share_i z_i

mu_i pulls anchor i towards its positives; push_j pulls row j towards the anchors that it is a positive of.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.positives import class_ids, class_sums, valid_rows


class CrossTerms(NamedTuple):
    """Hold what the labels of M anchors and N contrast rows determine."""

    ids: Tensor
    """``(M + N,)`` int64, the classes of the anchors and then of the rows."""
    share: Tensor
    """``(M,)``."""
    averaged: Tensor
    """0-d, the number of anchors that the mean is over, at least 1."""


def cross_terms(anchor_labels: Tensor, contrast_labels: Tensor, options: Options, dtype: torch.dtype) -> CrossTerms:
    """Return the classes, and the shares and the number of anchors in `dtype`.

    Raises:
        ValueError: With ``singletons="error"``, if an anchor has no positive; this waits for the device.
    """
    ids = class_ids(torch.cat([anchor_labels, contrast_labels]))
    own, others = ids[: len(anchor_labels)], ids[len(anchor_labels) :]
    positives = torch.zeros_like(ids).index_add_(0, others, torch.ones_like(others))[own]
    valid = valid_rows(anchor_labels, options)
    paired = valid & (positives > 0)
    if options.singletons == "error":
        refuse_anchors_alone(anchor_labels, valid & ~paired)
    averaged = (paired if options.singletons == "skip" else valid).sum().clamp_min(1)
    return CrossTerms(ids, paired.to(dtype) / positives.clamp_min(1), averaged.to(dtype))


def pull_of_anchors(rows: Tensor, ids: Tensor, share: Tensor) -> Tensor:
    """Return mu ``(M, D)`` from the contrast rows ``(N, D)``."""
    count = len(share)
    return class_sums(rows, ids[count:], len(ids))[ids[:count]].mul_(share.unsqueeze(1))


def push_of_rows(anchors: Tensor, ids: Tensor, share: Tensor) -> Tensor:
    """Return push ``(N, D)`` from the anchors ``(M, D)``."""
    count = len(share)
    return class_sums(anchors * share.unsqueeze(1), ids[:count], len(ids))[ids[count:]]


def refuse_anchors_alone(labels: Tensor, alone: Tensor) -> None:
    """Raise a ValueError if an anchor has no positive; this waits for the device."""
    count = int(alone.sum())
    if count:
        raise ValueError(
            f"`contrast_labels` must hold the label of every anchor when singletons='error'; {count} of {len(labels)} "
            f"anchors have no positive (label {int(labels[alone][0])} is the first). Add such rows to the contrast "
            "set, or pass singletons='zero' or 'skip'."
        )
