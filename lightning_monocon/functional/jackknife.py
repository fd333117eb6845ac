# SPDX-License-Identifier: Apache-2.0
"""Compute a delete-group jackknife interval of any value that is computed from sufficient statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings
from lightning_monocon.functional.moments import Moments, merge_all, moments
from lightning_monocon.functional.row_keys import direction_keys, row_keys

Statistic = Callable[[Moments], Tensor]

_SEED = 1  # not that of the keys by which metrics sample rows


class Estimate(NamedTuple):
    """Hold a value with its interval and with what it was estimated from.

    Attributes:
        value: 0-d float64.
        low: Lower end of the interval.
        high: Upper end; NaN where there is none.
        confidence: Nominal coverage of the interval.
        rows: n, the number of rows.
        features: D.
        normalized: Whether rows were divided by their lengths.
        centred: Whether the mean was subtracted.
        role: Which rows: ``"gallery"``, ``"query"``, or ``""`` where there is one set.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    confidence: float
    rows: int
    features: int
    normalized: bool
    centred: bool = True
    role: str = ""


def check_groups(groups: int, confidence: float) -> None:
    """Raise ValueError unless there are at least two groups and ``0 < confidence < 1``."""
    if groups < 2:
        raise ValueError(f"`groups` must be at least 2, better 10; got {groups!r}.")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"`confidence` must lie strictly between 0 and 1; got {confidence!r}.")


def group_numbers(embeddings: Tensor, groups: int, normalize: bool) -> Tensor:
    """Return the group ``(N,)`` of every row, from 0 to ``groups - 1``: a hash of its numbers, or of its direction.

    To deal by position would make groups of classes where the rows come with classes in turn. A hash is random, the
    same on any batch and rank and in any order, and sends copies of a row to one group, which is left out as a whole.
    """
    return (direction_keys if normalize else row_keys)(embeddings, _SEED) % groups


def grouped_moments(embeddings: Tensor, groups: int, normalize: bool) -> list[Moments]:
    """Return the moments of the rows of each group of `group_numbers`; a group may be empty."""
    rows = check_embeddings(embeddings)
    number = group_numbers(rows, groups, normalize).to(rows.device)
    return [moments(rows[number == group], normalize) for group in range(groups)]


def leave_one_out(parts: Sequence[Moments]) -> list[Moments]:
    """Return, for each group, the moments of all the others."""
    return [merge_all([*parts[:index], *parts[index + 1 :]]) for index in range(len(parts))]


def student_quantile(groups: int, confidence: float) -> float:
    """Return the two-sided quantile of Student's t with ``groups - 1`` degrees of freedom."""
    return float(stdtrit(groups - 1, 0.5 + confidence / 2.0))


def jackknife_interval(
    parts: Sequence[Moments], statistic: Statistic, confidence: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return value, low and high: the value of all rows and Student's interval about it."""
    filled = [part for part in parts if part.rows > 0]
    value = statistic(merge_all(parts))
    if len(filled) < 2:
        return value, torch.full_like(value, torch.nan), torch.full_like(value, torch.nan)
    return student_interval(value, torch.stack([statistic(rest) for rest in leave_one_out(filled)]), confidence)


def student_interval(value: Tensor, without: Tensor, confidence: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return value, low and high from the values ``(G,)`` that leave one group out."""
    groups = len(without)
    spread = (without - without.mean()).square().sum() * (groups - 1) / groups
    half = student_quantile(groups, confidence) * spread.sqrt()
    return value, value - half, value + half


def jackknife(
    embeddings: Tensor, statistic: Statistic, groups: int = 10, confidence: float = 0.95, normalize: bool = True
) -> Estimate:
    r"""Return a value of the spectrum with its delete-group jackknife interval.

    .. math::
        \hat\theta \pm t_{G-1}\sqrt{\tfrac{G-1}{G}\sum_g (\hat\theta_{(-g)} - \bar\theta)^2}

    with :math:`\hat\theta_{(-g)}` the value of all rows but those of group g (Kott 2001). Rows are dealt to the G
    groups by a hash of their numbers, so their order plays no part, and copies of a row share a group. Otherwise rows
    must be independent: augmentations of one input make the interval too narrow. It measures the scatter at this n and
    not the bias that is left at this n: see `corrected_effective_dimension`.

    Args:
        embeddings: ``(N, D)``, any floating dtype.
        statistic: Maps `Moments` to a 0-d tensor.
        groups: G, at least 2.
        confidence: Nominal coverage.
        normalize: Divide every row by its length first.

    Raises:
        TypeError: If ``embeddings`` is not a floating-point tensor.
        ValueError: If the shape is wrong, a row is not finite, or ``groups`` or ``confidence`` is out of range.

    Example:
        >>> from lightning_monocon.functional.participation_ratio import participation_ratio_from_moments
        >>> rows = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
        >>> estimate = jackknife(rows, participation_ratio_from_moments, normalize=False)
        >>> bool(estimate.low < estimate.value < estimate.high), estimate.rows, estimate.features
        (True, 500, 4)
    """
    check_groups(groups, confidence)
    parts = grouped_moments(embeddings, groups, normalize)
    value, low, high = jackknife_interval(parts, statistic, confidence)
    return Estimate(value, low, high, confidence, len(embeddings), embeddings.shape[1], normalize)
