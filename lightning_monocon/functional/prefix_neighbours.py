# SPDX-License-Identifier: Apache-2.0
r"""Find the nearest neighbours that each of several prefixes of the columns gives, with one pass over the columns.

Inner products of a prefix are the running sum over blocks of columns, so one matrix product at full width serves every
size: the products are divided by the length that the gallery's rows have within the prefix. As in
`lightning_monocon.functional.neighbours`, float32 only chooses candidates. Those that lie within rounding of the next
one are measured in float64, and a query whose k-th neighbour lies within rounding of a row outside is searched again
by that module. So the result is that of a float64 brute-force search at each size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_monocon.functional.moments import statistics_device
from lightning_monocon.functional.neighbours import MARGIN, best_of, decide, neighbours, pair_distances
from lightning_monocon.functional.products import product

_GALLERY_TILE = 65536
_ENTRIES = 1 << 21  # of a tile of scores, 8 MB
_COPIED_ROWS = 4096
_SAFE = 2.0**40
"""Length up to which, and down to whose inverse, float32 products of rows keep their digits."""

_EXACT = 1 << 24
"""Whole numbers up to this one are exact in float32."""


Ties: TypeAlias = tuple[Tensor, Tensor]
"""Rows of the gallery in the order of equal distances, and for each query the place in it that comes first."""


class Prefix(NamedTuple):
    """Hold the rows of a gallery within a prefix, as `pair_distances` measures them."""

    rows: Tensor  # (M, dim)
    length: Tensor  # (M, 1) float64 divisors, ones for rows of zeros
    penalty: Tensor  # (M,) float64, 1 for rows of zeros
    factor: Tensor  # (M,) float32, 1 / length, or 0


def prefix_neighbours(
    gallery: Tensor, query: Tensor, dims: Sequence[int], k: int, first: Tensor, order: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Return the k nearest rows by cosine, for each size, of rows that are cut to their first columns.

    The arguments are checked by the caller. Rows that hold nothing but 1 and -1 have equal lengths, so their order is
    that of Hamming distances too.

    Args:
        gallery: ``(M, D)``, float32 or float64.
        query: ``(N, D)``.
        dims: Ascending numbers of columns, 1 to D.
        k: How many, 1 to M.
        first: ``(N,)`` for each query the place in ``order`` that comes first of equal distances, as in `neighbours`.
        order: ``(M,)`` rows of the gallery in the order of equal distances; that of their numbers by default.

    Returns:
        For each of ``dims`` ``(N, k)`` int64 rows of the gallery, nearest first.
    """
    device = statistics_device(gallery.device)
    gallery, query, first = gallery.to(device), query.to(device), first.to(device)
    order = torch.arange(len(gallery), device=device) if order is None else order.to(device)
    if all(bool(((rows == 1) | (rows == -1)).all()) for rows in (gallery[:1], query, gallery)):
        return _of_whole_numbers(gallery, query, dims, k, (order, first), apart=2)
    ones = [dim for dim in dims if dim == 1]  # in one dimension a cosine is a product of signs
    signs = _of_whole_numbers(gallery[:, :1].sign(), query[:, :1].sign(), ones, k, (order, first), apart=1)
    return signs + _of_floats(gallery, query, [dim for dim in dims if dim > 1], k, (order, first))


def _of_floats(gallery: Tensor, query: Tensor, dims: Sequence[int], k: int, ties: Ties) -> tuple[Tensor, ...]:
    order, first = ties
    prefixes = [_prefix(gallery[:, :dim]) for dim in dims]
    asked = [_prefix(query[:, :dim]) for dim in dims]
    count = min(k + MARGIN, len(gallery))
    columns = _columns(gallery[:, : max(dims, default=0)], order)
    factors = [prefix.factor[order] for prefix in prefixes]
    found = [torch.empty(len(query), k, dtype=torch.int64, device=query.device) for _ in dims]
    unsure = [torch.ones(len(query), dtype=torch.bool, device=query.device) for _ in dims]
    for tile in _query_tiles(len(query), len(gallery)):
        for place, (scores, indices) in enumerate(_candidates(query[tile].float(), columns, dims, factors, count)):
            side = Prefix(*(part[tile] for part in asked[place]))
            slack = 4 * torch.finfo(torch.float32).eps * (dims[place] ** 0.5 + 1) * side.length[:, 0].float()
            found[place][tile] = _ordered(scores, indices, slack, side, prefixes[place], k, (order, first[tile]))
            if count < len(gallery):
                unsure[place][tile] = scores[:, k - 1] - scores[:, -1] <= slack
            else:
                unsure[place][tile] = False
            unsure[place][tile] |= side.penalty > 0
    for place, dim in enumerate(dims):
        within = _in_range(prefixes[place]) and _in_range(asked[place])
        some = torch.nonzero(unsure[place]).flatten() if within else torch.arange(len(query), device=query.device)
        if len(some):
            again = neighbours(gallery[:, :dim][order], query[some, :dim], k, first=first[some])
            found[place][some] = again.indices
    return tuple(order[places] for places in found)


def _prefix(rows: Tensor) -> Prefix:
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
    zero = length == 0
    length = length.masked_fill(zero, 1.0)
    return Prefix(rows, length, zero[:, 0].double(), (~zero / length)[:, 0].float())


def _in_range(side: Prefix) -> bool:
    return bool(((side.length <= _SAFE) & (side.length >= 1 / _SAFE)).all())


def _ordered(
    scores: Tensor, indices: Tensor, slack: Tensor, query: Prefix, gallery: Prefix, k: int, ties: Ties
) -> Tensor:
    """Return the k best candidates: float64 measures those that float32 cannot tell from the next one."""
    near = scores[:, :-1] - scores[:, 1:] <= slack[:, None]
    number, place = torch.nonzero(pad(near, (1, 0)) | pad(near, (0, 1)), as_tuple=True)
    squared = 2 - 2 * scores.double() / query.length
    order, first = ties
    row = order[indices[number, place]]
    squared[number, place] = pair_distances(query.rows.double() / query.length, gallery, number, row)
    return decide(squared, indices, k, first)[1]


def _candidates(
    query: Tensor, columns: Sequence[Tensor], dims: Sequence[int], factors: Sequence[Tensor], count: int
) -> list[tuple[Tensor, Tensor]]:
    """Return for each size the ``count`` best float32 scores ``(Q, count)`` and their gallery rows."""
    best = [(query.new_empty(len(query), 0), _no_rows(query)) for _ in dims]
    for number, part in enumerate(columns):
        start = number * _GALLERY_TILE
        score = query.new_empty(len(query), part.shape[1])
        for place, dot in enumerate(_running(query, part, dims, score)):
            torch.mul(dot, factors[place][start : start + _GALLERY_TILE], out=score)
            best[place] = _merged(best[place], score, start, count)
    return best


def _of_whole_numbers(
    gallery: Tensor, query: Tensor, dims: Sequence[int], k: int, ties: Ties, apart: int
) -> tuple[Tensor, ...]:
    """Return the neighbours of rows of -1, 0 and 1, whose products are exact: only their ties have to be ordered.

    Products of a size that differ do so by at least ``apart``, and then by more than the order of ties adds.
    """
    order, first = ties
    rows = len(gallery) + len(gallery) % 2
    step = rows // apart
    dtype = torch.float32 if step * max(dims, default=0) + rows < _EXACT else torch.float64
    early = torch.arange(len(gallery), 0, -1, dtype=dtype, device=query.device).repeat(2)
    columns, query = _columns(gallery, order), query.float()
    found = [torch.empty(len(query), k, dtype=torch.int64, device=query.device) for _ in dims]
    for tile in _query_tiles(len(query), len(gallery)):
        best = [(query.new_empty(tile.stop - tile.start, 0, dtype=dtype), _no_rows(query[tile])) for _ in dims]
        for number, part in enumerate(columns):
            start = number * _GALLERY_TILE
            # the row at `first` comes first, and those before it last
            lead = early.unfold(0, part.shape[1], 1)[(start - first[tile]) % len(gallery)]
            spare = query.new_empty(len(lead), part.shape[1])
            score = torch.empty_like(lead)
            for place, dot in enumerate(_running(query[tile], part, dims, spare)):
                torch.add(lead, dot, alpha=step, out=score)
                best[place] = _merged(best[place], score, start, k)
        for line, (_, indices) in zip(found, best, strict=True):
            line[tile] = order[indices]
    return tuple(found)


def _columns(gallery: Tensor, order: Tensor) -> list[Tensor]:
    """Return tiles of the gallery in the order of ties, contiguous by columns, as a product of some columns reads them.

    Only these float32 tiles are in that order: a copy of the gallery itself would double its memory.
    """
    parts = torch.split(order, _GALLERY_TILE)
    tiles = [torch.empty(gallery.shape[1], len(rows), device=order.device) for rows in parts]
    for tile, rows in zip(tiles, parts, strict=True):
        for start in range(0, len(rows), _COPIED_ROWS):
            some = slice(start, start + _COPIED_ROWS)
            tile[:, some] = gallery[rows[some]].T
    return tiles


def _query_tiles(queries: int, rows: int) -> Iterator[slice]:
    """Yield slices of the queries whose scores of a tile of the gallery stay in the cache of a CPU."""
    height = max(1, _ENTRIES // min(rows, _GALLERY_TILE))
    return (slice(start, min(start + height, queries)) for start in range(0, queries, height))


def _running(query: Tensor, columns: Tensor, dims: Sequence[int], spare: Tensor) -> Iterator[Tensor]:
    """Yield the products ``(Q, M)`` of each prefix, all in one tensor; ``spare`` is overwritten."""
    dot = torch.zeros_like(spare)
    for low, high in pairwise((0, *dims)):
        yield dot.add_(product(query[:, low:high], columns[low:high], out=spare))


def _merged(best: tuple[Tensor, Tensor], score: Tensor, start: int, count: int) -> tuple[Tensor, Tensor]:
    """Return the best of what there is and of a further tile of scores, which begins at row ``start``."""
    scores, where = best_of(score, count)
    if not best[0].shape[1]:
        return scores, where + start
    scores, where = torch.cat([best[0], scores], 1), torch.cat([best[1], where + start], 1)
    scores, order = scores.topk(min(count, scores.shape[1]), dim=1)
    return scores, where.gather(1, order)


def _no_rows(query: Tensor) -> Tensor:
    return torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
