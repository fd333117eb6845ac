# SPDX-License-Identifier: Apache-2.0
"""Order the rows of a set that a search finds equally near, alike for every truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_monocon.functional.truncation_curve import Ties, ties_of

if TYPE_CHECKING:
    from lightning_monocon.scorecard.embeddings import EmbeddingSet


def row_order(data: EmbeddingSet) -> Ties:
    """Return how equally near rows of the set are ordered: equal rows by label, or at random if there is none."""
    seeded = torch.Generator().manual_seed(0)
    names = torch.randperm(len(data.gallery), generator=seeded) if data.gallery_labels is None else data.gallery_labels
    return ties_of(data.gallery, names, data.query)
