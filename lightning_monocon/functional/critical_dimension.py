# SPDX-License-Identifier: Apache-2.0
r"""Find how many rows free vectors of k numbers can be trained to order: every pair of them first, for some query.

For each pair of n rows there is a query of its own that shall find these two before all others. Rows and queries are
unit vectors with no model or text behind them, trained directly (Weller et al. 2025,
https://arxiv.org/abs/2508.21038).

Where training stops is not all that k numbers can hold. Up to three numbers it is: k + 1 rows. From four numbers on,
rows on the curve :math:`(\cos t, \sin t, \cos 2t, \sin 2t)` let a query find every pair, however many rows there are
(Wang et al. 2026, https://arxiv.org/abs/2601.20844), but by margins that shrink as :math:`n^{-4}`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

_FIT = (-10.5322, 4.0309, 0.0520, 0.0037)
"""Coefficients of n(k) by Weller et al., lowest power first."""

_PATIENCE = 1000
"""Steps without a lower loss after which a training has failed, theirs too."""

_MOST = 32
"""Numbers up to which a training fits into memory: a step costs n^3, and n grows faster than k."""


class FreeVectors(NamedTuple):
    """Hold vectors that find every pair of rows.

    Attributes:
        rows: ``(n, k)`` float64 unit vectors.
        queries: ``(n (n - 1) / 2, k)`` float64 unit vectors, one for each pair in the order of `torch.combinations`.
    """

    rows: Tensor
    queries: Tensor


def critical_dimension(
    k: int, *, temperature: float = 0.1, rate: float = 0.01, steps: int = 10_000, tries: int = 1, seed: int = 0
) -> FreeVectors:
    """Return free vectors of ``k`` numbers for the most rows of which training finds every pair.

    The number of rows is doubled until training fails, and then bisected, for vectors that find all pairs of some rows
    find all pairs of fewer. Each training takes full batches, Adam, and InfoNCE of both rows of a pair against all that
    are not asked for, and brings vectors to unit length after every step. It ends when all pairs are found, or when the
    loss has not fallen for 1000 steps.

    Args:
        k: Numbers of a vector, 1 to 32; above 16 it takes hours.
        temperature: What cosines are divided by in the loss. It decides much: a small one reaches more rows.
        rate: Learning rate of Adam.
        steps: Most steps of a training.
        tries: Starts for each number of rows, one of which must succeed.
        seed: Of the first start.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> len(critical_dimension(2, steps=200).rows)
        3
    """
    _check(k, temperature, rate, steps, tries, seed)
    best, failed = _simplex(k), 0
    while failed != len(best.rows) + 1:
        n = (failed + len(best.rows)) // 2 if failed else 2 * len(best.rows)
        starts = (_trained(n, k, temperature, rate, steps, seed + start) for start in range(tries))
        found = next((vectors for vectors in starts if vectors is not None), None)
        best, failed = (best, n) if found is None else (found, failed)
    return best


def fitted_rows(k: int) -> int:
    """Return about how many rows such a training orders: k + 1 up to three numbers, which is exact, then a fit.

    The fit is that of Weller et al. to their trainings, n(k) = -10.5322 + 4.0309 k + 0.0520 k^2 + 0.0037 k^3, and an
    extrapolation where k is large. It is no bound: see this module's description.

    Raises:
        ValueError: If ``k`` is not a positive integer.

    Example:
        >>> [fitted_rows(k) for k in (2, 4, 8, 64, 512)]
        [3, 7, 27, 1430, 512290]
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"`k` must be a positive integer, the numbers of a vector; got {k!r}.")
    return k + 1 if k < 4 else round(sum(factor * k**power for power, factor in enumerate(_FIT)))


def _check(k: int, temperature: float, rate: float, steps: int, tries: int, seed: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= _MOST:
        raise ValueError(
            f"`k` must be an integer from 1 to {_MOST}, since a step costs the cube of the rows; got {k!r}."
        )
    for name, number in (("temperature", temperature), ("rate", rate)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < torch.inf:
            raise ValueError(f"`{name}` must be a positive number; got {number!r}.")
    for name, count, least in (("steps", steps, 1), ("tries", tries, 1), ("seed", seed, 0)):
        if isinstance(count, bool) or not isinstance(count, int) or not least <= count < 2**62:
            raise ValueError(f"`{name}` must be an integer of at least {least}; got {count!r}.")


def _simplex(k: int) -> FreeVectors:
    """Return the corners of a simplex, of which every pair is nearest to its own middle."""
    rows = normalize(torch.linalg.svd(torch.eye(k + 1, dtype=torch.float64) - 1 / (k + 1))[0][:, :k])
    first, second = torch.combinations(torch.arange(k + 1)).T
    # The only pair of two corners has its middle at zero: any query finds it.
    return FreeVectors(rows, normalize(rows[first] + rows[second]) if k > 1 else rows[first])


def _trained(n: int, k: int, temperature: float, rate: float, steps: int, seed: int) -> FreeVectors | None:
    """Return vectors that find every pair of n rows; None if training does not reach them."""
    pairs = torch.combinations(torch.arange(n))
    asked = torch.zeros(len(pairs), n, dtype=torch.bool).scatter_(1, pairs, True)
    generator = torch.Generator().manual_seed(seed)
    rows, queries = (
        normalize(torch.randn(count, k, generator=generator, dtype=torch.float64)).requires_grad_()
        for count in (n, len(pairs))
    )
    optimizer = torch.optim.Adam([rows, queries], lr=rate)
    least, since = torch.inf, 0
    for _ in range(steps):
        cosines = queries @ rows.T
        right, others = cosines.gather(1, pairs), cosines.masked_fill(asked, -torch.inf)
        if bool((right.amin(1) > others.amax(1)).all()):
            return FreeVectors(rows.detach(), queries.detach())
        loss = softplus((others / temperature).logsumexp(1, keepdim=True) - right / temperature).mean()
        least, since = (loss.item(), 0) if loss.item() < least else (least, since + 1)
        if since == _PATIENCE:
            return None
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        with torch.no_grad():
            for vectors in (rows, queries):
                vectors.copy_(normalize(vectors))
    return None
