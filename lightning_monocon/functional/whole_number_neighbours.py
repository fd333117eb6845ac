# SPDX-License-Identifier: Apache-2.0
"""Find the nearest neighbours of rows of signs, whose products are whole numbers: only their ties have to be ordered.

Products of 8-bit integers are exact, and four times as fast as those of float32 where the processor has instructions
for them.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from lightning_monocon.functional.neighbours import best_of
from lightning_monocon.functional.reaching import QUERIES, Marks, Reached, Tiling, largest_of_blocks


def whole_number_neighbours(gallery: Tensor, query: Tensor, k: int, first: Tensor, order: Tensor) -> Tensor:
    """Return the k rows ``(N, k)`` of the largest inner product, for rows of 1 and -1, largest first.

    The arguments are those of `prefix_neighbours`, ``(M, D)`` and ``(N, D)`` on the CPU; so are equal products ordered.
    """
    search = _Search(gallery.to(torch.int8), order, k)
    query = query.to(torch.int8)
    found = torch.empty(len(query), k, dtype=torch.int64)
    few = torch.zeros(len(query), dtype=torch.bool)
    for some in torch.split(torch.arange(len(query)), QUERIES):
        nearest = search.reaching(query[some], first[some])
        if nearest is None:
            few[some] = True
        else:
            found[some], few[some] = nearest
    for some in torch.split(torch.nonzero(few).flatten(), QUERIES):
        found[some] = search.best(query[some], first[some])
    return order[found]


def sign_neighbours(gallery: Tensor, query: Tensor, k: int, first: Tensor, order: Tensor) -> Tensor:
    """Return the k rows ``(N, k)`` of the largest product of signs, for numbers ``(M,)`` and ``(N,)``.

    The arguments are those of `prefix_neighbours`; so are equal products ordered.
    """
    found, signs = torch.empty(len(query), k, dtype=torch.int64), gallery.sign()[order]
    for sign in (-1, 0, 1):
        asking = torch.nonzero(query.sign() == sign).flatten()
        filled = 0
        for product in (1, 0, -1):
            places = torch.nonzero(sign * signs == product).flatten()
            taken = min(k - filled, len(places))
            if taken:
                after = torch.searchsorted(places, first[asking])[:, None] + torch.arange(taken)
                found[asking, filled : filled + taken] = places[after % len(places)]
            filled += taken
    return order[found]


class _Search:
    """Hold a gallery ``(M, D)`` int8 by tiles."""

    def __init__(self, gallery: Tensor, order: Tensor, k: int) -> None:
        self._k = k
        self._tiling = Tiling.of(len(gallery), k)
        self._marks = Marks()
        self._tiles = []
        for tile in range(self._tiling.tiles):
            rows = gallery[order[self._tiling.places(tile)]]
            # not `contiguous()`, which leaves a single column its strides; torch's product misreads those
            self._tiles.append(torch.empty(rows.T.shape, dtype=rows.dtype).copy_(rows.T))

    def reaching(self, query: Tensor, first: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the places ``(Q, k)`` of the nearest rows, and who found too few; None where thresholds fail."""
        sample = [largest_of_blocks(_products(query, tile)) for tile in self._tiles[: self._tiling.sampled]]
        least = self._tiling.threshold(torch.cat(sample, 1).numpy())
        if least is None:
            return None
        reached = Reached(len(query), self._tiling)
        for number, tile in enumerate(self._tiles):
            score = _products(query, tile).numpy()
            where = self._marks.reached(score, least[:, None])
            reached.add(number, where, score.ravel()[where], tile.shape[1])
            if reached.crowded:
                return None
        lists = reached.lists(first.numpy())
        if lists is None or lists.place.shape[1] < self._k:
            return None
        return torch.from_numpy(lists.place[:, : self._k]), torch.from_numpy(lists.counts < self._k)

    def best(self, query: Tensor, first: Tensor) -> Tensor:
        """Return the places ``(Q, k)`` of the nearest rows from all scores, each with the order of its ties."""
        rows, tiles = self._tiling.rows, self._tiling.tiles
        found = torch.empty(len(query), 0, dtype=torch.int64)
        for number, tile in enumerate(self._tiles):
            late = (torch.arange(number, rows, tiles) - first[:, None]) % rows
            found = torch.cat([found, best_of(_products(query, tile).long() * rows - late, self._k)[0]], 1)
            found = found.topk(min(self._k, found.shape[1]), dim=1).values
        return (first[:, None] - found) % rows


def _products(query: Tensor, tile: Tensor) -> Tensor:
    """Return the inner products ``(Q, W)`` int32 of rows ``(Q, D)`` and columns ``(D, W)``, int8."""
    if _has_fast_integers():
        found: Tensor = torch.ops.aten._int_mm(query, tile)
        return found
    return (query.float() @ tile.float()).to(torch.int32)


@cache
def _has_fast_integers() -> bool:
    """Return whether products of int8 are the processor's own here; without, torch's are very slow."""
    one = torch.ones(1, 1, dtype=torch.int8)
    try:
        return torch.cpu._is_vnni_supported() and bool(torch.ops.aten._int_mm(one, one) == 1)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
