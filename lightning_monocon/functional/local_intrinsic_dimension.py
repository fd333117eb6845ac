# SPDX-License-Identifier: Apache-2.0
"""Estimate the intrinsic dimension around each row by maximum likelihood (Levina & Bickel)."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from lightning_monocon.functional.checks import check_choice, check_embeddings
from lightning_monocon.functional.intrinsic_dimension import (
    IntrinsicDimensionResult,
    neighbour_distances,
    undefined_dimension,
)

Average = Literal["harmonic", "mean"]


def check_average(k: int, average: str) -> None:
    """Raise ValueError unless ``k >= 2`` and ``average`` is known."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        raise ValueError(f"`k` must be an integer of at least 2; got {k!r}.")
    check_choice("average", average, get_args(Average))


def local_intrinsic_dimension(
    embeddings: Tensor, k: int = 20, average: Average = "harmonic"
) -> IntrinsicDimensionResult:
    r"""Return the maximum-likelihood intrinsic dimension, averaged over the rows.

    Levina & Bickel (NIPS 2004): for each row, with :math:`T_j` the distance to its j-th nearest other,

    .. math::
        \hat m = \Bigl(\frac{1}{k-1}\sum_{j<k}\log\frac{T_k}{T_j}\Bigr)^{-1}

    Averaged over rows as ``"mean"`` (Levina & Bickel) or ``"harmonic"`` (MacKay & Ghahramani 2005: the inverses are
    averaged, which removes most of the upward bias for small k).

    Args:
        embeddings: ``(N, D)``, any floating dtype, at least k + 2 rows.
        k: Neighbours, at least 2.
        average: ``"harmonic"`` or ``"mean"``.

    Raises:
        TypeError: If ``embeddings`` is not a floating-point tensor.
        ValueError: If the shape is wrong, a row is not finite, or ``k`` or ``average`` is out of range.

    Example:
        >>> import torch
        >>> square = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) @ torch.eye(2, 10)
        >>> local_intrinsic_dimension(square).dimension.round()
        tensor(2., dtype=torch.float64)
    """
    check_average(k, average)
    rows = check_embeddings(embeddings)
    found = neighbour_distances(rows, k)
    if found is None:
        return undefined_dimension(rows)
    distances, left_out = found
    inverse = (distances[:, -1:] / distances[:, :-1]).log().mean(dim=1)
    dimension = 1.0 / inverse.mean() if average == "harmonic" else (1.0 / inverse).mean()
    return IntrinsicDimensionResult(dimension, left_out)
