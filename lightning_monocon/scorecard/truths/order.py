# SPDX-License-Identifier: Apache-2.0
"""Order the rows of a set that a search finds equally near, alike for every truth."""

from __future__ import annotations

import torch
from torch import Tensor


def equal_row_order(rows: int, labels: Tensor | None) -> Tensor:
    """Return numbers ``(rows,)`` by which equal rows of a gallery are ordered: labels, or random ones without."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0)) if labels is None else labels
