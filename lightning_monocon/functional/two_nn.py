# SPDX-License-Identifier: Apache-2.0
"""Estimate intrinsic dimension from the distances to the two nearest neighbours (TwoNN)."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings
from lightning_monocon.functional.intrinsic_dimension import (
    IntrinsicDimensionResult,
    neighbour_distances,
    undefined_dimension,
)


def check_discard(discard: float) -> None:
    """Raise ValueError unless ``0 <= discard < 1``."""
    if not 0.0 <= discard < 1.0:
        raise ValueError(f"`discard` must lie in [0, 1), a share of the rows; got {discard!r}.")


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
        TypeError: If ``embeddings`` is not a floating-point tensor.
        ValueError: If the shape is wrong, a row is not finite, or ``discard`` is outside [0, 1).

    Example:
        >>> square = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) @ torch.eye(2, 10)
        >>> two_nn(square).dimension.round()
        tensor(2., dtype=torch.float64)
    """
    check_discard(discard)
    rows = check_embeddings(embeddings)
    found = neighbour_distances(rows, 2)
    if found is None:
        return undefined_dimension(rows)
    distances, left_out = found
    ratio = (distances[:, 1] / distances[:, 0]).sort().values
    count = len(ratio)
    kept = min(max(1, int(count * (1.0 - discard))), count - 1)  # the last has F = 1, whose logarithm is infinite
    empirical = torch.arange(1, kept + 1, dtype=ratio.dtype, device=ratio.device) / count
    x, y = ratio[:kept].log(), -torch.log1p(-empirical)
    return IntrinsicDimensionResult((x * y).sum() / (x * x).sum(), left_out)
