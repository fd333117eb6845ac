# SPDX-License-Identifier: Apache-2.0
"""Measure how close positive pairs are on the sphere (Wang & Isola, ICML 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.uniformity import unit_float64


def alignment_sum(embeddings: Tensor, positives: Tensor, alpha: float) -> Tensor:
    """Return the sum over pairs of the distance of unit rows to the power ``alpha``; the shapes must be equal."""
    if isinstance(positives, Tensor) and positives.shape != embeddings.shape:
        raise ValueError(
            f"`positives` must have the shape {tuple(embeddings.shape)} of `embeddings`, row by row a positive pair;"
            f" got {tuple(positives.shape)}."
        )
    difference = unit_float64(embeddings) - unit_float64(positives, "positives")
    distances: Tensor = torch.linalg.vector_norm(difference, dim=1)
    return distances.pow(alpha).sum()


def check_alpha(alpha: float) -> None:
    """Raise ValueError unless ``alpha`` is positive."""
    if not alpha > 0:
        raise ValueError(f"`alpha` must be positive; got {alpha!r}.")


def alignment(embeddings: Tensor, positives: Tensor, alpha: float = 2.0) -> Tensor:
    r"""Return the mean distance of positive pairs of unit rows, 0-d float64, >= 0; lower is better aligned.

    .. math::
        \frac1N\sum_i |u_i - v_i|^\alpha

    Wang & Isola (2020). A collapsed embedding scores best, so report it with `uniformity`.

    Args:
        embeddings: ``(N, D)``, any floating dtype; rows are divided by their lengths.
        positives: ``(N, D)``, row i the positive of row i.
        alpha: The exponent.

    Raises:
        TypeError: If an input is not a floating-point tensor.
        ValueError: If shapes do not match, a row is not finite, or ``alpha`` is not positive.

    Example:
        >>> alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        tensor(2.0000, dtype=torch.float64)
    """
    check_alpha(alpha)
    total = alignment_sum(embeddings, positives, alpha)
    if not len(embeddings):
        warn_degenerate("Alignment needs at least 1 pair, got 0")
        return torch.full_like(total, torch.nan)
    return total / len(embeddings)
