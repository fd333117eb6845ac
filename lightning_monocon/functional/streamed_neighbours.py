# SPDX-License-Identifier: Apache-2.0
r"""Find exact nearest neighbours in a gallery that is read block by block and never held as a whole.

Every query keeps its k nearest rows so far. Of a further block, float32 scores rule out whatever lies farther than the
k-th of these; what is left is measured in float64. So most blocks cost one float32 product, and the result is that
of `lightning_monocon.functional.neighbours.neighbours` over all blocks together, bit by bit, in any order of them.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_choice, check_embeddings, finite_rows
from lightning_monocon.functional.neighbours import (
    MARGIN,
    DistanceName,
    Neighbours,
    Points,
    decide,
    pair_distances,
    prepared,
    scale_of,
    search_tile,
    unit,
)
from lightning_monocon.functional.products import inner_products
from lightning_monocon.functional.unit_rows import tame_rows

_QUERY_TILE = 256

_CROWDED = 4
"""Rows per query, in units of the rows that are kept, beyond which a block is searched rather than measured."""

_RANGE = 1e15
"""How many times longer than the rows of the first block Euclidean rows may be, so that float32 can hold them."""


class NeighbourStream:
    """Find the k nearest rows of a gallery that comes in blocks.

    Rows have places: those that they would have in the gallery. Equal distances are ordered by place, as `neighbours`
    orders them by index.

    Args:
        query: ``(N, D)``, any floating dtype.
        k: How many, at least 1.
        metric: ``"cosine"`` or ``"euclidean"``.
        first: ``(N,)`` for each query the place from which equal distances are ordered; 0 by default.

    Raises:
        TypeError: If ``query`` is not a floating-point tensor.
        ValueError: If a shape is wrong, a row is not finite, or ``k`` or ``metric`` is out of range.

    Example:
        >>> stream = NeighbourStream(torch.tensor([[2.0, 1.0]]), k=2)
        >>> stream.add(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 2]))
        >>> stream.add(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
        >>> stream.result().indices
        tensor([[0, 1]])
    """

    def __init__(self, query: Tensor, k: int, metric: DistanceName = "cosine", first: Tensor | None = None) -> None:
        check_choice("metric", metric, get_args(DistanceName))
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"`k` must be an integer of at least 1; got {k!r}.")
        query = check_embeddings(query, "query").cpu()
        finite_rows(query, "error", "query")
        self.k, self.metric = k, metric
        self.rows = 0
        """Rows of the gallery so far."""
        self._query = tame_rows(query) if metric == "cosine" else query
        self._first = torch.zeros(len(query), dtype=torch.int64) if first is None else first.cpu()
        self._squared = torch.full((len(query), k), torch.inf, dtype=torch.float64)
        self._places = torch.full((len(query), k), -1, dtype=torch.int32)  # widened if a place needs it
        self._centre = torch.zeros(query.shape[1], dtype=torch.float64)
        self._scale = torch.ones((), dtype=torch.float64)
        self._points: Points | None = None

    def add(self, rows: Tensor, places: Tensor) -> None:
        """Add a block of the gallery.

        Args:
            rows: ``(B, D)``, any floating dtype.
            places: ``(B,)`` int64, no two alike, and none of an earlier block.

        Raises:
            TypeError: If ``rows`` is not a floating-point tensor.
            ValueError: If the shape is wrong, a row is not finite, or Euclidean rows are far longer than the first.
        """
        rows = check_embeddings(rows, "rows", width=self._query.shape[1]).cpu()
        finite_rows(rows, "error", "rows")
        if not len(rows):
            return
        places, order = places.sort()
        if places[-1] > torch.iinfo(self._places.dtype).max:
            self._places = self._places.long()
        gallery, points = self._prepared(rows[order])
        local = torch.searchsorted(places, self._first)
        for start in range(0, len(self._query), _QUERY_TILE):
            self._add_tile(slice(start, start + _QUERY_TILE), points, gallery, places, local)
        self.rows += len(rows)

    def result(self) -> Neighbours:
        """Return the nearest rows of all blocks; ``indices`` are places.

        Raises:
            ValueError: If there were fewer than k rows.
        """
        if self.rows < self.k:
            raise ValueError(f"`k` must be at most {self.rows}, the rows of the gallery; got {self.k}.")
        distances = self._squared / 2.0 if self.metric == "cosine" else self._squared.sqrt()
        return Neighbours(distances, self._places.to(torch.int64, copy=True))

    def _prepared(self, rows: Tensor) -> tuple[Points, Points]:
        """Return a block and the queries as they are ranked; the first block gives the centre and the scale."""
        rows = tame_rows(rows) if self.metric == "cosine" else rows
        longest = scale_of(rows, self.metric)
        if self._points is None:
            self._scale = torch.maximum(longest, scale_of(self._query, self.metric)) if len(self._query) else longest
        elif longest > _RANGE * self._scale:
            raise ValueError(
                f"`rows` must be of like length in all blocks; a number of {float(longest):.3g} follows a first block "
                f"with at most {float(self._scale):.3g}. Add the longest rows first."
            )
        centre = None if self._points is None else self._centre
        gallery, self._centre = prepared(rows, self.metric, centre, self._scale)
        if self._points is None:
            self._points = prepared(self._query, self.metric, self._centre, self._scale)[0]
        return gallery, self._points

    def _add_tile(self, tile: slice, points: Points, gallery: Points, places: Tensor, local: Tensor) -> None:
        """Compare one tile of queries with a block, whose rows are in the order of their places."""
        count = min(self.k, len(gallery.rows))
        exact = unit(points, tile)
        if torch.isfinite(self._squared[tile, -1]).all():
            number, row = self._reached(tile, exact, points, gallery, places)
            if len(number) <= _CROWDED * (self.k + MARGIN) * len(exact):
                self._merge_pairs(tile, exact, gallery, places, number, row)
                return
        found = search_tile(points, tile, gallery, count, False, local)
        self._merge(torch.arange(*tile.indices(len(self._query))), found.distances, places[found.indices])

    def _reached(
        self, tile: slice, exact: Tensor, points: Points, gallery: Points, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return query numbers of the tile and rows of the block which float32 cannot rule out, ``(P,)`` each."""
        kth, scaled = self._squared[tile, -1], points.centred[tile] * 2.0
        # 2 q g - |g|^2 = |q|^2 - |q - g|^2; float32 errs by about eps sqrt(D) |q| |g|, and four times that is allowed
        square = torch.linalg.vector_norm((exact - self._centre) / self._scale, dim=1).square()
        largest = gallery.square.max().double()
        slack = 4 * torch.finfo(torch.float32).eps * scaled.shape[1] ** 0.5
        slack = slack * (2 * square.sqrt() * largest.sqrt() + largest + square)
        least = (square - kth / self._scale**2 - slack).float()

        scores = inner_products(scaled, gallery.centred).sub_(gallery.square)
        some = torch.nonzero(scores.amax(1) >= least).flatten()
        reached = scores[some] >= least[some, None]
        # nothing is nearer than 0, so only a row that comes earlier can push out one at distance 0
        full = torch.nonzero(kth[some] == 0).flatten()
        if len(full):
            first, last = self._first[tile][some[full]], self._places[tile, -1][some[full]]
            reached[full] &= _earlier(places, last, first)
        number, row = torch.nonzero(reached, as_tuple=True)
        return some[number], row

    def _merge_pairs(
        self, tile: slice, exact: Tensor, gallery: Points, places: Tensor, number: Tensor, row: Tensor
    ) -> None:
        """Measure pairs of a query of the tile and a row of the block, and keep those that are among the nearest."""
        if not len(number):
            return
        squared = pair_distances(exact, gallery, number, row)
        near = squared <= self._squared[tile, -1][number]
        number, row, squared = number[near], row[near], squared[near]
        count = number.bincount(minlength=len(exact))
        some = torch.nonzero(count).flatten()
        if not len(some):
            return
        # one line a query, filled up with rows that are infinitely far
        line = torch.cumsum(count > 0, 0)[number] - 1
        column = torch.arange(len(number)) - (count.cumsum(0) - count)[number]
        further = torch.full((len(some), int(count.max())), torch.inf, dtype=torch.float64)
        found = torch.full(further.shape, -1)
        further[line, column], found[line, column] = squared, places[row]
        self._merge(some + tile.start, further, found)

    def _merge(self, queries: Tensor, squared: Tensor, places: Tensor) -> None:
        """Keep the k nearest of what queries have and of further rows ``(some, any)``."""
        squared = torch.cat([self._squared[queries], squared], 1)
        places = torch.cat([self._places[queries], places], 1)
        self._squared[queries], kept = decide(squared, places, self.k, self._first[queries])
        self._places[queries] = kept.to(self._places.dtype)


def _earlier(places: Tensor, last: Tensor, first: Tensor) -> Tensor:
    """Return which of ``places (B,)`` come before ``last (N,)``, counted from ``first (N,)`` on, ``(N, B)``."""
    late, first = last < first, first[:, None]
    before = places < last[:, None]
    return torch.where(late[:, None], before | (places >= first), before & (places >= first))
