# SPDX-License-Identifier: Apache-2.0
"""Measure the bits that rows take at a given error, in the smooth form that serves as a training objective."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.moments import Moments, moments


def check_eps(eps: float) -> None:
    """Raise ValueError unless ``eps`` is a positive number."""
    if not 0.0 < eps < float("inf"):
        raise ValueError(f"`eps` must be positive and finite, the length of the error of a vector; got {eps!r}.")


def coding_rate_from_moments(statistics: Moments, eps: float) -> Tensor:
    """Return the coding rate; NaN, with one warning, for no rows or sums that overflow."""
    rows, mean, comoment = statistics
    nan = mean.new_tensor(torch.nan)
    if rows < 1:
        warn_degenerate("A coding rate needs at least 1 row, got 0")
        return nan
    second = (comoment + comoment.T) / 2 / rows + torch.outer(mean, mean)
    if not torch.isfinite(second).all():
        warn_degenerate("The sums of squares overflow float64 (rescale the embeddings)")
        return nan
    squares = torch.linalg.eigvalsh(second).clamp_min(0.0)
    # Not log2(1 + x), which loses every digit of a small x.
    nats: Tensor = torch.log1p(len(mean) * squares / eps**2).sum() / 2
    return nats / torch.log(mean.new_tensor(2.0))


def coding_rate(embeddings: Tensor, eps: float = 0.5, normalize: bool = True) -> Tensor:
    r"""Return the coding rate of the rows up to an error of length ``eps``, in bits per vector, 0-d float64.

    .. math::
        R(Z, \epsilon) = \tfrac12 \log_2\det\Bigl(I + \frac{D}{N\epsilon^2} Z^\top Z\Bigr)

    with :math:`Z` the rows as they are, not centred (Yu et al., Learning Diverse and Discriminative Representations
    via the Principle of Maximal Coding Rate Reduction, NeurIPS 2020; published code takes the natural
    logarithm and calls :math:`\epsilon^2` eps). It spends the same error on each component, and so is never below
    `rate_distortion` of the same second moments at the distortion :math:`\epsilon^2`; unlike that it is smooth, which
    makes it an objective. Rows that are all zero have rate 0.

    ``eps`` is positive; the other arguments and the errors are those of `moments`.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> coding_rate(rows, eps=1.0)  # both directions have 2 / 2 * 1 beside the 1
        tensor(1., dtype=torch.float64)
    """
    check_eps(eps)
    return coding_rate_from_moments(moments(embeddings, normalize), eps)
