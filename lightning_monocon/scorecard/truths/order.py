# SPDX-License-Identifier: Apache-2.0
"""Order the rows of a set that a search finds equally near, alike for every truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_monocon.functional.truncation_curve import Ties, ties_of

if TYPE_CHECKING:
    from lightning_monocon.scorecard.embeddings import EmbeddingSet


def row_order(data: EmbeddingSet) -> Ties:
    """Return how equally near rows of the set are ordered: equal rows by label, or at random if there is none."""
    return ties_of(data.gallery, equal_row_order(len(data.gallery), data.gallery_labels), data.query)


def equal_row_order(rows: int, labels: Tensor | None) -> Tensor:
    """Return numbers ``(rows,)`` by which equal rows of a gallery are ordered: labels, or random ones without."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0)) if labels is None else labels
