# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours by cosine along nested prefixes of the dimensions, in one pass over the similarities.

For prefixes k1 < k2 < ... of the columns the inner products are sums: <q, g>_k2 = <q, g>_k1 + the columns between.
So all prefixes together cost one matrix product, and only one block of queries times the gallery is ever in memory.
The length of the query does not change the order of its neighbours, so only the gallery's is divided out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_monocon.functional.unit_rows import tame_rows

_BLOCK_NUMBERS = 1 << 23
"""Similarities held at once: 8 million float32, 32 MiB, whatever the size of gallery and query."""


def nearest_along(gallery: Tensor, query: Tensor, dims: Sequence[int], count: int) -> Tensor:
    """Rows of the gallery nearest to each query by cosine, when only the first k columns are kept.

    Args:
        gallery: ``(N, D)``, finite.
        query: ``(Q, D)``, finite, of the gallery's dtype.
        dims: strictly increasing numbers of columns to keep, each between 1 and D.
        count: neighbours wanted, at most N.

    Returns:
        ``(len(dims), Q, count)`` int64 row numbers, nearest first.
    """
    gallery, query = tame_rows(gallery), tame_rows(query)
    edges = list(zip((0, *dims), dims, strict=False))
    lengths = torch.stack([gallery[:, low:k].square().sum(1) for low, k in edges]).cumsum(0).sqrt()  # (len(dims), N)
    # A row without length has no direction and ranks as orthogonal, also where only the squares vanished.
    scale = torch.where(lengths > 0, lengths.reciprocal(), 0.0)
    block = max(1, _BLOCK_NUMBERS // len(gallery))
    found = torch.empty(len(dims), len(query), count, dtype=torch.int64)
    # Two buffers for all blocks: fresh pages would cost more than the search.
    similarity, scaled = query.new_empty(2, min(block, len(query)), len(gallery))
    for start in range(0, len(query), block):
        part = query[start : start + block]
        summed, cosine = similarity[: len(part)].zero_(), scaled[: len(part)]
        for i, (low, k) in enumerate(edges):
            summed.addmm_(part[:, low:k], gallery[:, low:k].T)
            torch.mul(summed, scale[i], out=cosine)
            found[i, start : start + block] = cosine.topk(count, dim=1).indices
    return found
