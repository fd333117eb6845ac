# SPDX-License-Identifier: Apache-2.0
"""Measure two effective dimensions of a probe's embeddings, which qualify a state.

With singular values s of the centred embeddings, p = s / sum s and v = s^2:

    effective rank        exp(-sum p log p)            Roy and Vetterli 2007
    participation ratio   (sum v)^2 / sum v^2
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.landscape.qualifiers import Geometry


def probe_geometry(embeddings: Tensor) -> Geometry:
    """Return the effective rank and the participation ratio of ``(P, D)`` embeddings; NaN if all rows are equal.

    Example:
        >>> probe_geometry(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        Geometry(effective_rank=2.0, participation_ratio=2.0)

    Raises:
        ValueError: If the embeddings are not a matrix.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"`embeddings` must be (P, D), got shape {tuple(embeddings.shape)}.")
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    gram = centred.T @ centred if centred.shape[0] >= centred.shape[1] else centred @ centred.T
    variances = torch.linalg.eigvalsh(gram).clamp(min=0)
    if variances.sum() <= 0:
        return Geometry(float("nan"), float("nan"))
    shares = variances.sqrt() / variances.sqrt().sum()
    rank = torch.special.entr(shares).sum().exp().item()
    ratio = (variances.sum() ** 2 / (variances**2).sum()).item()
    return Geometry(round(rank, 12), round(ratio, 12))  # the last bits differ between machines
