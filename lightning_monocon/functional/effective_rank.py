# SPDX-License-Identifier: Apache-2.0
"""The other effective ranks of one spectrum, one name for each definition."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.moments import Moments, covariance, moments
from lightning_monocon.functional.spectrum import variances_from_moments

Values = Literal["singular", "eigenvalues"]


def squared_singular_values(statistics: Moments, centred: bool) -> Tensor:
    """Return the descending squared singular values ``(D,)`` of the centred or raw rows; NaN and a warning of none."""
    if centred:
        return variances_from_moments(statistics) * (statistics.rows - 1.0)
    if statistics.rows < 2 or not torch.isfinite(statistics.comoment).all():
        covariance(statistics)  # names the cause
        return torch.full_like(statistics.mean, torch.nan)
    second = statistics.comoment + statistics.rows * torch.outer(statistics.mean, statistics.mean)
    if not second.any():
        warn_degenerate(f"All {int(statistics.rows)} rows are zero")
        return torch.full_like(statistics.mean, torch.nan)
    squares: Tensor = torch.linalg.eigvalsh((second + second.T) / 2.0)
    return squares.flip(0).clamp_min(0.0)


def check_values(values: str) -> None:
    """Raise ValueError unless ``values`` is ``"singular"`` or ``"eigenvalues"``."""
    if values not in ("singular", "eigenvalues"):
        raise ValueError(f"`values` must be 'singular' or 'eigenvalues'; got {values!r}.")


def effective_rank_from_moments(statistics: Moments, centred: bool, values: Values) -> Tensor:
    """Return the exponential of the spectrum's entropy, 0-d float64."""
    squares = squared_singular_values(statistics, centred)
    weights = squares.sqrt() if values == "singular" else squares
    entropy: Tensor = torch.special.entr(weights / weights.sum()).sum()
    return entropy.exp()


def spectral_effective_rank(
    embeddings: Tensor, centred: bool = False, values: Values = "singular", normalize: bool = False
) -> Tensor:
    r"""Return the exponential of the entropy of the spectrum, 0-d float64, between 1 and D.

    .. math::
        \exp\Bigl(-\sum_i p_i\log p_i\Bigr),\qquad p_i = s_i / \sum_j s_j

    Roy & Vetterli (2007). The defaults are RankMe (Garrido et al., arXiv 2210.02885): singular values s of the raw,
    uncentred rows, here without RankMe's epsilon of 1e-7 beside p. ``centred=True`` subtracts the mean first, and
    ``values="eigenvalues"`` takes the squares :math:`s_i^2`: each gives another number for the same embeddings.

    Args:
        embeddings: ``(N, D)``, any floating dtype.
        centred: Subtract the mean first.
        values: ``"singular"`` values or ``"eigenvalues"`` (their squares).
        normalize: Divide every row by its length first.

    Raises:
        TypeError: If ``embeddings`` is no floating tensor.
        ValueError: If the shape is wrong, a row is not finite, or ``values`` is unknown.

    Example:
        >>> spectral_effective_rank(torch.eye(4))
        tensor(4., dtype=torch.float64)
    """
    check_values(values)
    return effective_rank_from_moments(moments(embeddings, normalize), centred, values)


def participation_ratio_from_moments(statistics: Moments) -> Tensor:
    """Return the participation ratio from traces, without an eigendecomposition."""
    matrix = covariance(statistics)
    if matrix is None:
        return statistics.mean.new_tensor(torch.nan)
    return matrix.trace().square() / matrix.square().sum()


def participation_ratio(embeddings: Tensor, normalize: bool = True) -> Tensor:
    r"""Return :math:`(\sum\lambda)^2 / \sum\lambda^2` of the centred covariance, 0-d float64, between 1 and D.

    Args:
        embeddings: ``(N, D)``, any floating dtype.
        normalize: Divide every row by its length first.

    Raises:
        TypeError: If ``embeddings`` is no floating tensor.
        ValueError: If the shape is wrong or a row is not finite.

    Example:
        >>> participation_ratio(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        tensor(2., dtype=torch.float64)
    """
    return participation_ratio_from_moments(moments(embeddings, normalize))


def stable_rank_from_moments(statistics: Moments, centred: bool) -> Tensor:
    """Return the sum of the squared singular values over the largest."""
    squares = squared_singular_values(statistics, centred)
    return squares.sum() / squares[0]


def stable_rank(embeddings: Tensor, centred: bool = True, normalize: bool = True) -> Tensor:
    r"""Return :math:`\|X\|_F^2 / \|X\|_2^2 = \sum_i s_i^2 / s_1^2`, 0-d float64, between 1 and D.

    Rudelson & Vershynin (2007). Blind to everything below the largest direction's scale.

    Args:
        embeddings: ``(N, D)``, any floating dtype.
        centred: Subtract the mean first.
        normalize: Divide every row by its length first.

    Raises:
        TypeError: If ``embeddings`` is no floating tensor.
        ValueError: If the shape is wrong or a row is not finite.

    Example:
        >>> stable_rank(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), normalize=False)
        tensor(1.2500, dtype=torch.float64)
    """
    return stable_rank_from_moments(moments(embeddings, normalize), centred)
