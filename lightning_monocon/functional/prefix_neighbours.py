# SPDX-License-Identifier: Apache-2.0
r"""Find the nearest neighbours that each of several prefixes of the columns gives, with one pass over the columns.

Inner products of a prefix are the running sum over blocks of columns, so one matrix product at full width serves every
size. With the length :math:`n_p` that a row g of the gallery has within prefix p, the cosine exceeds a threshold of the
query by :math:`d_p / n_p`, where

.. math:: d_p = q_p \cdot g_p - t_p n_p = d_{p-1} + t_{p-1} n_{p-1} + q_{p-1:p} \cdot g_{p-1:p} - t_p n_p

is a product too, of a block that holds the lengths as two more columns. So a size costs its columns and one comparison
with zero; `lightning_monocon.functional.reaching` says where thresholds come from.

As in `lightning_monocon.functional.neighbours`, float32 only chooses candidates. Those that lie within rounding of the
next one are measured in float64, and a query whose k-th neighbour lies within rounding of a row that is no candidate is
searched again by that module. So the result is that of a float64 brute-force search at each size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_monocon.functional.moments import statistics_device
from lightning_monocon.functional.neighbours import MARGIN, best_of, decide, neighbours, pair_distances, prepared
from lightning_monocon.functional.products import product
from lightning_monocon.functional.reaching import (
    QUERIES,
    ROWS,
    Floats,
    Lists,
    Marks,
    Reached,
    Tiling,
    add_product,
    largest_of_blocks,
)
from lightning_monocon.functional.unit_rows import tame_rows
from lightning_monocon.functional.whole_number_neighbours import sign_neighbours, whole_number_neighbours

_CHECKED_ROWS = 1024
_SAFE = 2.0**40
"""Length up to which, and down to whose inverse, float32 products of rows keep their digits."""

Ties: TypeAlias = tuple[Tensor, Tensor]
"""Rows of the gallery in the order of equal distances, and for each query the place in it that comes first."""


class Prefix(NamedTuple):
    """Hold rows within a prefix, as `pair_distances` measures them."""

    rows: Tensor  # (M, dim)
    length: Tensor  # (M, 1) float64 divisors, ones for rows of zeros
    penalty: Tensor  # (M,) float64, 1 for rows of zeros

    def part(self, some: slice | Tensor) -> Prefix:
        """Return some of the rows."""
        return Prefix(*(each[some] for each in self))


class _Size(NamedTuple):
    """Hold what one size is ranked by: ``(product of columns + offset) / length`` chooses, and float64 decides.

    A squared distance is ``base - 2 unit score``, and a score is in doubt by ``slack``.
    """

    dim: int
    offset: Tensor | None  # (M,) float64, added to the products
    length: Tensor  # (M,) float64
    gallery: Prefix
    query: Prefix
    base: Tensor  # (N,) float64
    unit: Tensor  # (N,) float64
    slack: Tensor  # (N,) float64
    safe: bool  # whether float32 can choose


class _Found(NamedTuple):
    """Hold candidates of queries by descending score, and how far down every row is among them."""

    scores: Tensor  # (Q, C) float32
    indices: Tensor  # (Q, C) places in the gallery
    least: Tensor  # (Q,) float32 score above which no row is missing


def prefix_neighbours(
    gallery: Tensor,
    query: Tensor,
    dims: Sequence[int],
    k: int,
    first: Tensor,
    order: Tensor | None = None,
    whole: tuple[Tensor, Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield the k nearest rows by cosine, for each size, of rows that are cut to their first columns.

    The arguments are checked by the caller. Rows that hold nothing but 1 and -1 have equal lengths, so their order is
    that of Hamming distances too.

    Args:
        gallery: ``(M, D)``, float32 or float64; rows of 1 and -1 may be int8.
        query: ``(N, D)``.
        dims: Ascending numbers of columns, 1 to D.
        k: How many, 1 to M.
        first: ``(N,)`` for each query the place in ``order`` that comes first of equal distances, as in `neighbours`.
        order: ``(M,)`` rows of the gallery in the order of equal distances; that of their numbers by default.
        whole: Rows ``(M, D')`` and ``(N, D')``, of which ``gallery`` and ``query`` are all coordinates on orthonormal
            axes, of unit rows about any point. They are searched by the same pass, as a last size.

    Yields:
        For each of ``dims``, and then for ``whole``, ``(N, k)`` int64 rows of the gallery, nearest first.
    """
    device = statistics_device(gallery.device)
    gallery, query, first = gallery.to(device), query.to(device), first.to(device)
    order = torch.arange(len(gallery), device=device) if order is None else order.to(device)
    if device.type != "cpu":  # where a product is cheap, and what is told of caches below is not true
        sides = [*((gallery[:, :dim], query[:, :dim]) for dim in dims), *([whole] if whole else [])]
        for rows, asked in sides:
            yield order[neighbours(rows[order], asked, k, first=first).indices]
    elif whole is None and all(map(_are_signs, (gallery[:1], query, gallery))):
        for dim in dims:
            yield whole_number_neighbours(gallery[:, :dim], query[:, :dim], k, first, order)
    else:
        for _ in range(sum(dim == 1 for dim in dims)):
            yield sign_neighbours(gallery[:, 0], query[:, 0], k, first, order)
        yield from _of_floats(gallery, query, [dim for dim in dims if dim > 1], k, (order, first), whole)


def whole_neighbours(gallery: Tensor, query: Tensor, k: int, first: Tensor, order: Tensor) -> Tensor:
    """Return the k nearest rows ``(N, k)`` by cosine of ``(M, D)`` and ``(N, D)`` on the CPU, nearest first.

    The arguments are those of `prefix_neighbours`.
    """
    one = torch.ones((), dtype=torch.float64)
    gallery, query = tame_rows(gallery), tame_rows(query)
    points, centre = prepared(gallery, "cosine", None, one)
    asked = prepared(query, "cosine", centre, one)[0]
    (found,) = _of_floats(points.centred, asked.centred, (), k, (order, first), (gallery, query))
    return found


def _of_floats(
    gallery: Tensor,
    query: Tensor,
    dims: Sequence[int],
    k: int,
    ties: Ties,
    whole: tuple[Tensor, Tensor] | None,
) -> Iterator[Tensor]:
    """Yield the neighbours of each size above 1."""
    order, first = ties
    sizes = [_size_of_prefix(gallery[:, :dim], query[:, :dim]) for dim in dims]
    if whole is not None:
        sizes.append(_size_of_whole(gallery, query, *whole))
    chosen = [size for size in sizes if size.safe] if len(query) else []
    lines = [torch.empty(len(query), k, dtype=torch.int32) for _ in sizes]  # half of the memory
    unsure = [torch.ones(len(query), dtype=torch.bool) for _ in sizes]
    if chosen:
        search = _Search(gallery, chosen, order, k)
        asked = [place for place, size in enumerate(sizes) if size.safe]
        for some in torch.split(torch.arange(len(query)), QUERIES):
            for place, found in zip(asked, search.candidates(query[some].float(), some), strict=True):
                lines[place][some], unsure[place][some] = _decided(found, sizes[place], some, k, (order, first[some]))
        for own, place in enumerate(asked):
            for some in torch.split(torch.nonzero(unsure[place]).flatten(), QUERIES):
                found = search.best(query[some].float(), own)
                lines[place][some], unsure[place][some] = _decided(found, sizes[place], some, k, (order, first[some]))
        del search
    for size, doubtful in zip(sizes, unsure, strict=True):
        line, some = lines.pop(0).long(), torch.nonzero(doubtful).flatten()
        if len(some):
            rows, queries = size.gallery.rows[order], size.query.rows[some]
            line[some] = neighbours(rows, queries, k, first=first[some]).indices
        yield order[line]


def _are_signs(rows: Tensor) -> bool:
    return all(bool(((part == 1) | (part == -1)).all()) for part in torch.split(rows, _CHECKED_ROWS))


def _size_of_prefix(gallery: Tensor, query: Tensor) -> _Size:
    known, asked = _prefix(gallery), _prefix(query)
    length, base = asked.length[:, 0], torch.full((len(query),), 2.0, dtype=torch.float64)
    slack = 4 * torch.finfo(torch.float32).eps * (gallery.shape[1] ** 0.5 + 4) * length
    safe = _in_range(known) and _in_range(asked)
    return _Size(gallery.shape[1], None, known.length[:, 0], known, asked, base, 1 / length, slack, safe)


def _size_of_whole(gallery: Tensor, query: Tensor, rows: Tensor, asked: Tensor) -> _Size:
    r"""Return the size that is all columns.

    By their coordinates q and g, squared distances of unit rows are :math:`|q|^2 - 2 (q \cdot g - |g|^2 / 2)`.
    """
    known, searching = _prefix(tame_rows(rows)), _prefix(tame_rows(asked))
    own, square = (_lengths(side)[:, 0].square() for side in (query, gallery))
    ones, most = torch.ones_like(square), square.amax()
    slack = (gallery.shape[1] ** 0.5 + 4) * ((own * most).sqrt() + most)
    slack = 4 * torch.finfo(torch.float32).eps * slack
    offset = -(square + known.penalty) / 2
    return _Size(gallery.shape[1], offset, ones, known, searching, own, torch.ones_like(own), slack, safe=True)


def _prefix(rows: Tensor) -> Prefix:
    length = _lengths(rows)
    zero = length == 0
    return Prefix(rows, length.masked_fill(zero, 1.0), zero[:, 0].double())


def _lengths(rows: Tensor) -> Tensor:
    """Return the lengths ``(N, 1)`` float64 of rows ``(N, D)``."""
    parts = torch.split(rows, _CHECKED_ROWS)  # of which torch makes a copy in float64
    return torch.cat([torch.linalg.vector_norm(part, dim=1, keepdim=True, dtype=torch.float64) for part in parts])


def _in_range(side: Prefix) -> bool:
    return bool(((side.length <= _SAFE) & (side.length >= 1 / _SAFE)).all())


def _decided(found: _Found | None, size: _Size, some: Tensor, k: int, ties: Ties) -> tuple[Tensor, Tensor]:
    """Return the places ``(Q, k)`` of the nearest rows of some queries, and which have to be searched again."""
    if found is None:
        return torch.zeros(len(some), k, dtype=torch.int32), torch.ones(len(some), dtype=torch.bool)
    order, first = ties
    query, scores, slack = size.query.part(some), found.scores, size.slack[some].float()
    unsure = (scores[:, k - 1] - slack <= found.least) | (query.penalty > 0)
    near = scores[:, :-1] - scores[:, 1:] <= slack[:, None]
    near[unsure] = False
    number, place = torch.nonzero(pad(near, (1, 0)) | pad(near, (0, 1)), as_tuple=True)
    exact = query.rows.double() / query.length
    squared = size.base[some, None] - 2 * size.unit[some, None] * scores
    squared[number, place] = pair_distances(exact, size.gallery, number, order[found.indices[number, place]])
    nearest, close = found.indices[:, :k].clone(), near.any(1)
    nearest[close] = decide(squared[close], found.indices[close], k, first[close])[1]
    return nearest.int(), unsure


class _Search:
    """Choose candidates of many queries at each size.

    Args:
        gallery: ``(M, D)``.
        sizes: What is asked for, ascending; the columns of one begin those of the next.
        order: ``(M,)`` rows in the order of their places.
        k: How many rows are nearest.
    """

    def __init__(self, gallery: Tensor, sizes: Sequence[_Size], order: Tensor, k: int) -> None:
        self._sizes, self._k = sizes, k
        self._tiling = Tiling.of(len(gallery), k)
        self._marks, self._spare = Marks(), torch.empty(2 * QUERIES * ROWS)  # fresh pages for each tile would cost much
        widths = [high - low + 1 + (size.offset is not None) for low, high, size in self._blocks()]
        self._ends = np.cumsum(widths).tolist()
        """Rows of a tile after each block, the last of which holds lengths."""
        chosen = [order[self._tiling.places(tile)] for tile in range(self._tiling.tiles)]
        # one block of memory, which goes back to the system as a whole; many small ones would stay with the process
        memory = torch.empty(self._ends[-1] * len(gallery))
        parts = torch.split(memory, [self._ends[-1] * len(rows) for rows in chosen])
        self._tiles = [self._filled(part, gallery, rows) for part, rows in zip(parts, chosen, strict=True)]

    def _blocks(self) -> list[tuple[int, int, _Size]]:
        highs = [size.dim for size in self._sizes]
        return [*zip([0, *highs], highs, self._sizes, strict=False)]

    def _filled(self, memory: Tensor, gallery: Tensor, rows: Tensor) -> Floats:
        """Return rows by columns: for each size the columns that it adds, its offset if it has one, and its lengths."""
        tile = memory.view(-1, len(rows))
        some = gallery[rows]
        for (low, high, size), end in zip(self._blocks(), self._ends, strict=True):
            tile[end - 1] = size.length[rows]
            if size.offset is not None:
                tile[end - 2] = size.offset[rows]
            start = end - 1 - (size.offset is not None) - (high - low)
            tile[start : start + high - low] = some[:, low:high].T
        return tile.numpy()

    def candidates(self, query: Tensor, some: Tensor) -> Iterator[_Found | None]:
        """Yield the candidates of some queries ``(Q, D)`` float32 for each size; None where thresholds are no help.

        The last candidate of a query that reaches its threshold too seldom has a score of minus infinity.
        """
        factors = self._factors(query)
        limits = self._thresholds(factors, some)
        for size, reached, limit in zip(self._sizes, self._reached(factors, limits), limits, strict=True):
            if limit is None or reached is None or reached.crowded or (lists := reached.lists()) is None:
                yield None
            else:
                yield _listed(lists, limit, size.slack[some].float().numpy(), self._k)

    def _factors(self, query: Tensor) -> list[Floats]:
        """Return for each size what its block of a tile, with the lengths before it, is multiplied by, ``(Q, K)``.

        Lengths are not multiplied by anything yet.
        """
        found = []
        for place, (low, high, size) in enumerate(self._blocks()):
            own = query[:, low:high]
            own = own if size.offset is None else pad(own, (0, 1), value=1.0)
            found.append(pad(own, (int(place > 0), 1)).contiguous().numpy())
        return found

    def _running(self, tile: Floats, factors: Sequence[Floats]) -> Iterator[Floats]:
        """Yield the sums of products ``(Q, W)`` of all blocks up to each size, in one array."""
        spare = self._spare[: 2 * len(factors[0]) * tile.shape[1]].view(2, -1, tile.shape[1])
        first = product(torch.from_numpy(factors[0]), torch.from_numpy(tile[: self._ends[0]]), spare[0])
        score = first.numpy()
        yield score
        for start, end, factor in zip(self._ends[:-1], self._ends[1:], factors[1:], strict=True):
            add_product(score, factor, tile[start - 1 : end], spare[1])  # with the lengths of the block before
            yield score

    def _thresholds(self, factors: Sequence[Floats], some: Tensor) -> list[Floats | None]:
        """Return for each size what scores shall reach ``(Q,)``, and set it in the factors; None for anything."""
        blocks: list[list[Tensor]] = [[] for _ in factors]
        for part in self._tiles[: self._tiling.sampled]:
            for place, score in enumerate(self._running(part, factors)):
                length = torch.from_numpy(part[self._ends[place] - 1])
                blocks[place].append(largest_of_blocks(torch.from_numpy(score) / length))
        found: list[Floats | None] = []
        for place, maxima in enumerate(blocks):
            least = cast("Floats | None", self._tiling.threshold(torch.cat(maxima, 1).numpy()))
            if least is not None:
                # what is as near as the last row within rounding shall be there too
                least = least - 2 * self._sizes[place].slack[some].float().numpy()
                factors[place][:, -1] = -least
                if place + 1 < len(factors):
                    factors[place + 1][:, 0] = least
            found.append(least)
        return found

    def _reached(self, factors: Sequence[Floats], limits: Sequence[Floats | None]) -> list[Reached | None]:
        """Return for each size that has thresholds what reaches them."""
        kept = [None if limit is None else Reached(len(limit), self._tiling) for limit in limits]
        for number, part in enumerate(self._tiles if any(kept) else []):
            for end, own, score in zip(self._ends, kept, self._running(part, factors), strict=True):
                if own is not None and not own.crowded:
                    where = self._marks.reached(score, np.float32(0))
                    excess = score.ravel()[where] / part[end - 1][where % part.shape[1]]
                    own.add(number, where, excess, part.shape[1])
        return kept

    def best(self, query: Tensor, place: int) -> _Found:
        """Return the best scores of some queries ``(Q, D)`` float32 in one size, without thresholds."""
        end = self._ends[place]
        count = min(self._k + MARGIN, self._tiling.rows)
        factors = self._factors(query)[: place + 1]
        joined = np.concatenate([factors[0], *(each[:, 1:] for each in factors[1:])], 1)
        scores, indices = query.new_empty(len(query), 0), torch.empty(len(query), 0, dtype=torch.int64)
        for number, part in enumerate(self._tiles):
            spare = torch.empty(len(query), part.shape[1])
            score = product(torch.from_numpy(joined), torch.from_numpy(part[:end]), spare)
            score = score / torch.from_numpy(part[end - 1])
            best, where = best_of(score, count)
            scores, indices = torch.cat([scores, best], 1), torch.cat([indices, where * self._tiling.tiles + number], 1)
            scores, chosen = scores.topk(min(count, scores.shape[1]), dim=1)
            indices = indices.gather(1, chosen)
        least = scores[:, -1] if count < self._tiling.rows else torch.full_like(scores[:, -1], -torch.inf)
        return _Found(scores, indices, least)


def _listed(lists: Lists, limit: Floats, slack: Floats, k: int) -> _Found:
    """Return the k best of each list, and what is as near as the last of them within rounding."""
    scores, places = lists.score + limit[:, None], lists.place
    if scores.shape[1] < k:
        missing = ((0, 0), (0, k - scores.shape[1]))
        scores, places = np.pad(scores, missing, constant_values=-np.inf), np.pad(places, missing)
    within = (scores >= scores[:, k - 1 : k] - slack[:, None]) & (scores > -np.inf)
    width = max(k, int(within.sum(1).max()))
    return _Found(torch.from_numpy(scores[:, :width]), torch.from_numpy(places[:, :width]), torch.from_numpy(limit))
