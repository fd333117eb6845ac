# SPDX-License-Identifier: Apache-2.0
r"""Find exact nearest neighbours in tiles; the whole distance matrix is never stored.

Both metrics are ranked by the squared Euclidean distance, for ``"cosine"`` of unit rows
(:math:`|u-v|^2 = 2 - 2\cos`), after the gallery's mean is subtracted. That changes no distance, but a narrow cone
or a large offset then costs no digits, so float32 products are enough to *choose* candidates:

1. a tile of scores :math:`2\,q\cdot g - |g|^2`, of which the best ``k + 8`` are kept;
2. the candidates' distances in float64 *decide*, equal distances by the smaller gallery index;
3. a query whose last candidate is within rounding of its k-th is searched again: every row whose score is within
   rounding of the k-th is measured in float64.

So the result is that of a float64 brute-force search, at the price of a float32 one. Memory beyond the inputs: one
float32 copy of them and a few tiles.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_choice, check_embeddings, finite_rows
from lightning_monocon.functional.moments import statistics_device
from lightning_monocon.functional.products import product
from lightning_monocon.functional.unit_rows import binary_scale, tame_rows

DistanceName = Literal["cosine", "euclidean"]

_QUERY_TILE = 256
_GALLERY_TILE = 16384
_ROW_TILE = 1024  # float64 rows that are prepared at a time
_EXACT_ENTRIES = 1 << 21  # float64 entries of one exact tile on an accelerator: 16 MB
_CACHED_ENTRIES = 1 << 17  # on a CPU 1 MB, which stays in its cache: four to ten times as fast
_EXACT_QUERIES = 256  # searched again together
_LAST = 1 << 62  # added to the indices that come last of equal distances
_BLOCK = 16  # columns of scores of which the largest is taken before they are sorted
MARGIN = 8  # candidates beyond k that float32 keeps for float64 to judge


class Neighbours(NamedTuple):
    """Hold the k nearest gallery rows of every query, nearest first.

    Attributes:
        distances: ``(N, k)`` float64; cosine distance ``1 - cos`` or Euclidean distance.
        indices: ``(N, k)`` int64, rows of the gallery.
    """

    distances: Tensor
    indices: Tensor


class Measurable(Protocol):
    """Hold rows as float64 measures them: a part of `Points`."""

    @property
    def rows(self) -> Tensor: ...  # noqa: D102  (documented in `Points`)
    @property
    def length(self) -> Tensor: ...  # noqa: D102
    @property
    def penalty(self) -> Tensor: ...  # noqa: D102


class Points(NamedTuple):
    """Hold rows as ranked: prepared float32 copies for the choice, and what float64 needs for the decision."""

    rows: Tensor  # (N, D), as given
    length: Tensor  # (N, 1) float64 divisors, ones for Euclidean and for rows of zeros
    penalty: Tensor  # (N,) float64, 1 for rows of zeros under cosine: their cosine is 0, not 1/2
    centred: Tensor  # (N, D) float32
    square: Tensor  # (N,) float32, |centred|^2 and the penalty


def check_k(k: int, gallery_rows: int, exclude_self: bool = False) -> None:
    """Raise ValueError unless ``1 <= k <= `` the gallery rows that can be neighbours."""
    most = gallery_rows - int(exclude_self)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= most:
        raise ValueError(f"`k` must be an integer from 1 to {most}, the rows of the gallery; got {k!r}.")


def _tamed(gallery: Tensor, query: Tensor, metric: str) -> tuple[Tensor, Tensor, float]:
    """Return both sides such that their squares stay within float64, and the factor that distances were shrunk by.

    Cosines ask for directions only, so every row has a factor of its own; distances need one for all.
    """
    if metric == "cosine":
        return tame_rows(gallery), tame_rows(query), 1.0
    largest = [_largest(side).to(torch.float64) for side in (gallery, query) if len(side)]
    both = torch.stack(largest).amax().view(1, 1)
    if tame_rows(both) is both:
        return gallery, query, 1.0
    factor = binary_scale(both)
    return gallery * factor, query * factor, float(factor)


def _lengths(rows: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    length = torch.ones(len(rows), 1, dtype=torch.float64, device=rows.device)
    if metric == "cosine":
        for start in range(0, len(rows), _ROW_TILE):
            tile = rows[start : start + _ROW_TILE].to(torch.float64)
            length[start : start + len(tile)] = torch.linalg.vector_norm(tile, dim=1, keepdim=True)
    zero = length[:, 0] == 0
    return length.masked_fill(zero[:, None], 1.0), zero.to(torch.float64)


def _largest(rows: Tensor) -> Tensor:
    return torch.maximum(rows.amax(), -rows.amin())


def scale_of(rows: Tensor, metric: str) -> Tensor:
    """Return what float32 copies are divided by, so that huge or tiny Euclidean rows neither overflow nor vanish."""
    largest = _largest(rows).to(torch.float64)
    return largest if metric == "euclidean" and largest > 0 else torch.ones_like(largest)


def prepared(rows: Tensor, metric: str, centre: Tensor | None, scale: Tensor) -> tuple[Points, Tensor]:
    """Return the points and the centre that was subtracted: ``centre``, or their own mean where it is None."""
    length, penalty = _lengths(rows, metric)
    tiles = [slice(start, start + _ROW_TILE) for start in range(0, len(rows), _ROW_TILE)]
    if centre is None:
        centre = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
        for tile in tiles:
            centre += (1.0 / length[tile, 0]) @ rows[tile].to(torch.float64) / len(rows)
    centred = torch.empty(rows.shape, dtype=torch.float32, device=rows.device)
    for tile in tiles:
        centred[tile] = rows[tile].to(torch.float64, copy=True).div_(length[tile]).sub_(centre).div_(scale)
    square = torch.linalg.vector_norm(centred, dim=1).square_() + penalty.to(torch.float32)
    return Points(rows, length, penalty, centred, square), centre


def unit(points: Points, index: Tensor | slice) -> Tensor:
    """Return some of the rows in float64, for cosine of unit length."""
    return points.rows[index].to(torch.float64) / points.length[index]


def best_of(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` largest of each row ``(Q, M)``, at most M of them, and their places, descending."""
    if scores.shape[1] < 2 * count * _BLOCK or scores.device.type != "cpu":
        return scores.topk(min(count, scores.shape[1]), dim=1)
    where = _places_of_best(scores, count)
    best, order = scores.gather(1, where).sort(dim=1, descending=True)
    return best, where.gather(1, order)


def _places_of_best(scores: Tensor, count: int) -> Tensor:
    """Return where the ``count`` largest of each row are, in any order.

    They lie in those blocks of columns that have the largest maxima, so only these are looked through; the largest
    maxima are found in the same way. NumPy selects several times as fast as torch.
    """
    blocks = scores.shape[1] // _BLOCK
    if blocks < 2 * count:
        return torch.from_numpy(np.argpartition(scores.numpy(), -count, axis=1)[:, -count:])
    even = blocks * _BLOCK
    parts = scores[:, :even].reshape(-1, _BLOCK, blocks)  # columns of a block lie ``blocks`` apart
    chosen = _places_of_best(parts.amax(1), count)
    some = torch.cat([parts.gather(2, chosen[:, None].expand(-1, _BLOCK, -1)).flatten(1), scores[:, even:]], 1)
    where = torch.from_numpy(np.argpartition(some.numpy(), -count, axis=1)[:, -count:])
    inside = chosen.gather(1, where % count) + where // count * blocks
    return torch.where(where < _BLOCK * count, inside, where - _BLOCK * count + even)


def _candidates(query: Tensor, gallery: Points, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` best float32 scores ``(Q, count)`` and their gallery rows."""
    scores = query.new_empty(len(query), 0)
    indices = torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    buffer = query.new_empty(len(query) * _GALLERY_TILE)  # one for all tiles: fresh pages cost as much as the search
    for start in range(0, len(gallery.rows), _GALLERY_TILE):
        tile = slice(start, min(start + _GALLERY_TILE, len(gallery.rows)))
        score = buffer[: len(query) * (tile.stop - start)].view(len(query), -1)
        score = product(query, gallery.centred[tile].T, out=score).sub_(gallery.square[tile])
        best, where = best_of(score, count)
        scores, indices = torch.cat([scores, best], 1), torch.cat([indices, where + start], 1)
        scores, order = scores.topk(min(count, scores.shape[1]), dim=1)
        indices = indices.gather(1, order)
    return scores, indices


def decide(squared: Tensor, indices: Tensor, k: int, first: Tensor) -> tuple[Tensor, Tensor]:
    """Return the k smallest ``squared`` distances and their ``indices``, equal ones as `neighbours` orders them."""
    order = torch.where(indices < first[:, None], indices + _LAST, indices).argsort(dim=1)
    squared, position = squared.gather(1, order).sort(dim=1, stable=True)
    return squared[:, :k], indices.gather(1, order.gather(1, position[:, :k]))


def _kept(squared: Tensor, indices: Tensor, k: int, first: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `decide` does, by ascending index as ``indices`` must be: sorting many rows would take longer."""
    kth = squared.kthvalue(k, dim=1, keepdim=True).values
    nearer, tied, late = squared < kth, squared == kth, indices < first[:, None]
    wanted = k - nearer.sum(1, keepdim=True)
    wanted_late = wanted - (tied & ~late).sum(1, keepdim=True)
    passed = (tied & late).sum(1, keepdim=True)
    place = tied.cumsum(1)
    nearer |= tied & torch.where(late, place <= wanted_late, place - passed <= wanted)
    return squared[nearer].view(-1, k), indices[nearer].view(-1, k)


def pair_distances(query: Tensor, gallery: Measurable, number: Tensor, row: Tensor) -> Tensor:
    """Return float64 squared distances ``(P,)`` between the queries ``number`` and the gallery rows ``row``."""
    height = max(1, (_CACHED_ENTRIES if query.device.type == "cpu" else _EXACT_ENTRIES) // query.shape[1])
    squared = torch.empty(len(row), dtype=torch.float64, device=query.device)
    for start in range(0, len(row), height):
        part = slice(start, start + height)
        between = gallery.rows[row[part]].to(torch.float64).div_(gallery.length[row[part]]).sub_(query[number[part]])
        torch.sum(between.square_(), dim=1, out=squared[part])
    return squared.add_(gallery.penalty[row])


class _Unsure(NamedTuple):
    """Hold queries whose nearest rows float32 cannot tell."""

    rows: Tensor  # (Q, D) float64
    scaled: Tensor  # (Q, D) float32, as `_candidates` takes them
    least: Tensor  # (Q,) float32 score below which no row is among the nearest
    first: Tensor  # (Q,) rows of the gallery that come first of equally near ones
    own: Tensor | None  # (Q,) rows of the gallery that they are, which they must not find


def _search_again(query: _Unsure, gallery: Points, k: int) -> tuple[Tensor, Tensor]:
    """Return what a float64 search over the whole gallery finds, measuring only what float32 cannot rule out."""
    best = torch.full((len(query.rows), k), torch.inf, dtype=torch.float64, device=query.rows.device)
    indices = torch.full(best.shape, -1, device=best.device)
    for start in range(0, len(gallery.rows), _GALLERY_TILE):
        tile = slice(start, min(start + _GALLERY_TILE, len(gallery.rows)))
        reached = torch.mm(query.scaled, gallery.centred[tile].T).sub_(gallery.square[tile]) >= query.least[:, None]
        if query.own is not None:
            reached &= torch.arange(start, tile.stop, device=best.device) != query.own[:, None]

        number, row = torch.nonzero(reached, as_tuple=True)
        count = reached.sum(1)
        place = torch.arange(len(number), device=best.device) - (count.cumsum(0) - count)[number]
        squared = best.new_full((len(count), int(count.max())), torch.inf)
        squared[number, place] = pair_distances(query.rows, gallery, number, row + start)
        found = torch.full(squared.shape, tile.stop, device=best.device)
        found[number, place] = row + start
        best, indices = _kept(torch.cat([best, squared], 1), torch.cat([indices, found], 1), k, query.first)
    return decide(best, indices, k, query.first)


def search_tile(query: Points, tile: slice, gallery: Points, k: int, exclude_self: bool, first: Tensor) -> Neighbours:
    """Return squared distances and indices for one tile of queries."""
    first = first[tile]
    scaled = query.centred[tile] * 2.0
    own = torch.arange(tile.start, tile.start + len(scaled), device=scaled.device) if exclude_self else None
    scores, indices = _candidates(scaled, gallery, min(k + MARGIN + int(exclude_self), len(gallery.rows)))
    exact = unit(query, tile)
    number = torch.arange(len(indices), device=indices.device).repeat_interleave(indices.shape[1])
    squared = pair_distances(exact, gallery, number, indices.flatten()).view(indices.shape)
    if own is not None:
        squared.masked_fill_(indices == own[:, None], torch.inf)
    best, chosen = decide(squared, indices, k, first)
    if scores.shape[1] < len(gallery.rows):
        # float32 scores err by about eps sqrt(D) |q| |g|; beyond four times that no row outside can beat the k-th.
        largest = gallery.square.max()
        slack = 4 * torch.finfo(torch.float32).eps * scaled.shape[1] ** 0.5
        slack = slack * (scaled.norm(dim=1) * largest.sqrt() + largest)
        kth = scores.gather(1, (indices[:, None] == chosen[:, -1:, None]).to(torch.int8).argmax(2)).squeeze(1)
        unsure = torch.nonzero(kth - scores[:, -1] <= slack).flatten()
        for start in range(0, len(unsure), _EXACT_QUERIES):
            some = unsure[start : start + _EXACT_QUERIES]
            asked = _Unsure(
                exact[some], scaled[some], (kth - slack)[some], first[some], None if own is None else own[some]
            )
            best[some], chosen[some] = _search_again(asked, gallery, k)
    return Neighbours(best, chosen)


def neighbours(
    gallery: Tensor, query: Tensor | None, k: int = 5, metric: DistanceName = "cosine", *, first: Tensor | None = None
) -> Neighbours:
    """Return the k nearest gallery rows of every query row, exactly, nearest first.

    Equal distances are ordered by the smaller gallery index (scikit-learn leaves that order open). A row of zeros has
    cosine 0 with everything.

    Args:
        gallery: ``(M, D)``, any floating dtype.
        query: ``(N, D)``, or None: every gallery row queries the others, itself left out.
        k: How many, 1 to M (M - 1 for ``query=None``).
        metric: ``"cosine"`` or ``"euclidean"``.
        first: ``(N,)`` for each query the gallery index from which equal distances are ordered, and on from 0 after the
            last; 0 by default.

    Raises:
        TypeError: If an input is not a floating-point tensor.
        ValueError: If a shape is wrong, the widths differ, a row is not finite, or ``k`` or ``metric`` is out of range.

    Example:
        >>> gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> neighbours(gallery, torch.tensor([[2.0, 1.0]]), k=2).indices
        tensor([[0, 1]])
    """
    check_choice("metric", metric, get_args(DistanceName))
    rows = check_embeddings(gallery, "gallery")
    exclude_self = query is None
    asked = rows if query is None else check_embeddings(query, "query", width=rows.shape[1])
    check_k(k, len(rows), exclude_self)
    for name, tensor in (("gallery", rows), ("query", asked)):
        finite_rows(tensor, "error", name)
    device = statistics_device(rows.device)
    rows, asked, shrunk = _tamed(rows.to(device), asked.to(device), metric)
    scale = scale_of(rows, metric)
    points, centre = prepared(rows, metric, None, scale)
    queries = points if exclude_self else prepared(asked, metric, centre, scale)[0]
    first = torch.zeros(len(asked), dtype=torch.int64, device=device) if first is None else first.to(device)
    found = [
        search_tile(queries, slice(start, start + _QUERY_TILE), points, k, exclude_self, first)
        for start in range(0, len(asked), _QUERY_TILE)
    ]
    empty = torch.empty(0, k, dtype=torch.float64, device=device)
    squared = torch.cat([empty, *(tile.distances for tile in found)])
    indices = torch.cat([empty.to(torch.int64), *(tile.indices for tile in found)])
    return Neighbours(squared / 2.0 if metric == "cosine" else squared.sqrt() / shrunk, indices)
