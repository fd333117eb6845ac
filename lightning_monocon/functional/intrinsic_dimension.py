# SPDX-License-Identifier: Apache-2.0
"""Find the distances to neighbours that estimators of intrinsic dimension share, without rows that have a copy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.functional.neighbours import neighbours


class IntrinsicDimensionResult(NamedTuple):
    """Hold an intrinsic dimension; 0-d float64 tensors.

    Attributes:
        dimension: The estimate.
        left_out: Rows that have a copy, which says nothing of the dimension around it.
    """

    dimension: Tensor
    left_out: Tensor


def neighbour_distances(rows: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
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


def undefined_dimension(rows: Tensor) -> IntrinsicDimensionResult:
    """Return NaN for both."""
    nan = torch.tensor(torch.nan, dtype=torch.float64, device=rows.device)
    return IntrinsicDimensionResult(nan, nan)
