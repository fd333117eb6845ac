# SPDX-License-Identifier: Apache-2.0
"""Measure the geometry of a probe's embeddings, which qualifies a state and has phases of its own.

With singular values s of the centred embeddings, descending, p = s / sum s and v = s^2:

    effective rank        exp(-sum p log p)            Roy and Vetterli 2007; RankMe
    participation ratio   (sum v)^2 / sum v^2
    alpha-ReQ             minus the slope of log v on log rank, weights 1 / rank; Agrawal et al. 2022
    n99                   the fewest components that hold 99 % of sum v
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.alpha_req import alpha_of_variances
from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.landscape.qualifiers import Geometry

_SHARE = 0.99
_FEWEST = 2  # positive variances, below which there is no slope


def probe_geometry(embeddings: Tensor) -> Geometry:
    """Return the geometry of ``(P, D)`` embeddings as they are, centred but not normalised; NaN if all rows are equal.

    Alpha-ReQ is fitted over all components whose variance is above rounding, and is NaN if that is one.

    Example:
        >>> probe_geometry(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        Geometry(effective_rank=2.0, participation_ratio=2.0, alpha_req=0.0, n99=2.0)

    Raises:
        ValueError: If the embeddings are not a matrix.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"`embeddings` must be (P, D), got shape {tuple(embeddings.shape)}.")
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    gram = centred.T @ centred if centred.shape[0] >= centred.shape[1] else centred @ centred.T
    variances = torch.linalg.eigvalsh(gram).clamp(min=0).flip(0)
    if variances.sum() <= 0:
        return Geometry()

    shares = variances.sqrt() / variances.sqrt().sum()
    rank = torch.special.entr(shares).sum().exp().item()
    ratio = (variances.sum() ** 2 / (variances**2).sum()).item()
    above = variances[variances > _rounding(embeddings, variances)]
    alpha = abs(alpha_of_variances(above).item()) if len(above) >= _FEWEST else float("nan")  # never below 0
    n99 = components_for(variances, _SHARE).item()
    return Geometry(*(round(value, 12) for value in (rank, ratio, alpha, n99)))  # the last bits differ between machines


def _rounding(embeddings: Tensor, variances: Tensor) -> float:
    """Return what rounding alone gives: that of the eigenvalues, or that of the embeddings, of float32 the larger.

    A direction without variance, as a normalisation of layers leaves one, has this much and would tilt the slope.
    """
    own = torch.finfo(variances.dtype).eps * len(variances) * variances[0].item()
    eps = torch.finfo(embeddings.dtype).eps if embeddings.is_floating_point() else 0.0
    return max(own, len(embeddings) * (eps * embeddings.abs().max().item()) ** 2)
