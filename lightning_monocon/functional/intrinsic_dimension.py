# SPDX-License-Identifier: Apache-2.0
"""Intrinsic dimension from the distances to the nearest neighbours: of the manifold, not of the space around it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, warn_degenerate
from lightning_monocon.functional.neighbours import neighbours

Average = Literal["harmonic", "mean"]


class IntrinsicDimensionResult(NamedTuple):
    """An intrinsic dimension; 0-d float64 tensors.

    Attributes:
        dimension: The estimate.
        left_out: Rows that have a copy, which says nothing of the dimension around it.
    """

    dimension: Tensor
    left_out: Tensor


def _distances(rows: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """Return the distances to the k nearest others of each row without a copy, and how many have one."""
    if len(rows) < k + 2:
        warn_degenerate(f"An intrinsic dimension of {k} neighbours needs at least {k + 2} rows, got {len(rows)}")
        return None
    distances = neighbours(rows, None, k, "euclidean").distances
    alone = distances[:, 0] > 0
    left_out = (~alone).sum().to(torch.float64)
    if alone.sum() < 2:
        warn_degenerate(f"{int(left_out)} of {len(rows)} rows have a copy: no distance is left")
        return None
    return distances[alone], left_out


def _nothing(rows: Tensor) -> IntrinsicDimensionResult:
    nan = torch.tensor(torch.nan, dtype=torch.float64, device=rows.device)
    return IntrinsicDimensionResult(nan, nan)


def two_nn(embeddings: Tensor, discard: float = 0.1) -> IntrinsicDimensionResult:
    r"""Return the TwoNN intrinsic dimension, and how many rows with a copy were left out.

    Facco et al., Scientific Reports 7 (2017): with :math:`\mu = r_2 / r_1`, the distances to the two nearest others,
    the slope through the origin of :math:`-\log(1 - F(\mu))` on :math:`\log\mu`, the share ``discard`` of the largest
    :math:`\mu` left out. Locally uniform density is assumed only on the scale of two neighbours; the estimate is low
    in high dimensions and for few rows.

    Args:
        embeddings: ``(N, D)``, any floating dtype, at least 4 rows.
        discard: Share of the largest ratios left out of the fit, in [0, 1).

    Raises:
        TypeError: If ``embeddings`` is no floating tensor.
        ValueError: If the shape is wrong, a row is not finite, or ``discard`` is outside [0, 1).

    Example:
        >>> square = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) @ torch.eye(2, 10)
        >>> two_nn(square).dimension.round()
        tensor(2., dtype=torch.float64)
    """
    check_discard(discard)
    rows = check_embeddings(embeddings)
    found = _distances(rows, 2)
    if found is None:
        return _nothing(rows)
    distances, left_out = found
    ratio = (distances[:, 1] / distances[:, 0]).sort().values
    count = len(ratio)
    kept = min(max(1, int(count * (1.0 - discard))), count - 1)  # the last has F = 1, whose logarithm is infinite
    empirical = torch.arange(1, kept + 1, dtype=ratio.dtype, device=ratio.device) / count
    x, y = ratio[:kept].log(), -torch.log1p(-empirical)
    return IntrinsicDimensionResult((x * y).sum() / (x * x).sum(), left_out)


def check_discard(discard: float) -> None:
    """Raise ValueError unless ``0 <= discard < 1``."""
    if not 0.0 <= discard < 1.0:
        raise ValueError(f"`discard` must lie in [0, 1), a share of the rows; got {discard!r}.")


def check_average(k: int, average: str) -> None:
    """Raise ValueError unless ``k >= 2`` and ``average`` is known."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        raise ValueError(f"`k` must be an integer of at least 2; got {k!r}.")
    if average not in ("harmonic", "mean"):
        raise ValueError(f"`average` must be 'harmonic' or 'mean'; got {average!r}.")


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
        TypeError: If ``embeddings`` is no floating tensor.
        ValueError: If the shape is wrong, a row is not finite, or ``k`` or ``average`` is out of range.

    Example:
        >>> square = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) @ torch.eye(2, 10)
        >>> local_intrinsic_dimension(square).dimension.round()
        tensor(2., dtype=torch.float64)
    """
    check_average(k, average)
    rows = check_embeddings(embeddings)
    found = _distances(rows, k)
    if found is None:
        return _nothing(rows)
    distances, left_out = found
    inverse = (distances[:, -1:] / distances[:, :-1]).log().mean(dim=1)
    dimension = 1.0 / inverse.mean() if average == "harmonic" else (1.0 / inverse).mean()
    return IntrinsicDimensionResult(dimension, left_out)
