# SPDX-License-Identifier: Apache-2.0
"""Compute what a scorecard needs of a gallery in a few passes over its files; no pass holds more than a block.

The numbers are those of the same gallery in memory, bit by bit: blocks are its tiles, and equally near rows are ordered
by the same hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.jackknife import group_numbers
from lightning_monocon.functional.moments import Moments, MomentStream
from lightning_monocon.functional.neighbours import DistanceName, Neighbours
from lightning_monocon.functional.row_keys import direction_keys
from lightning_monocon.functional.spectrum import PrincipalComponents
from lightning_monocon.functional.streamed_neighbours import NeighbourStream
from lightning_monocon.functional.truncation_curve import Ties, projected, tie_keys
from lightning_monocon.scorecard.copies import Sample
from lightning_monocon.scorecard.row_files.source import RowSource, blocks_of

Cut = Callable[[Tensor], Iterable[Tensor]]
"""Turns rows ``(B, D)`` into their stored forms as a search sees them, one ``(B, k)`` for each size."""


class Survey(NamedTuple):
    """Hold what a first pass over a gallery shows.

    Attributes:
        groups: Moments of the unit rows of each group of the jackknife.
        ties: ``(N,)`` keys that order equally near rows.
        directions: ``(N,)`` keys of the rows' directions: equal for repeated rows, also where one is scaled.
        sample: Some of the different rows.
    """

    groups: list[Moments]
    ties: Tensor
    directions: Tensor
    sample: Sample


def survey(source: RowSource, groups: int) -> Survey:
    """Return moments and keys of a gallery, as `grouped_moments`, `tie_keys` and `direction_keys` do of its rows."""
    streams = [MomentStream(source.width) for _ in range(groups)]
    # made before the first block: small tensors that stay between large ones that go split the heap into holes, which
    # no later block fits into and which are never given back
    ties, directions = torch.empty(2, source.length, dtype=torch.int64)
    sample, start = Sample(), 0
    for block in blocks_of(source):
        numbers = group_numbers(block, groups, normalize=True)
        for group, stream in enumerate(streams):
            stream.add(block[numbers == group])
        own = slice(start, start + len(block))
        ties[own], directions[own] = tie_keys(block), direction_keys(block)
        sample, start = sample.with_rows(block, directions[own]), own.stop
    return Survey([stream.result() for stream in streams], ties, directions, sample)


def largest_coordinates(source: RowSource, axes: PrincipalComponents, dim: int) -> Tensor:
    """Return the largest magnitude ``(dim,)`` float32 of each principal coordinate, which calibrates int8 codes."""
    largest = torch.zeros(dim)
    for block in blocks_of(source):
        largest = torch.maximum(largest, projected(block, axes, dim).float().abs().amax(0))
    return largest


class Search(NamedTuple):
    """Ask for the nearest rows in several stored forms.

    Attributes:
        cut: Gives the forms.
        metric: The distance that ranks them.
    """

    cut: Cut
    metric: DistanceName = "cosine"


def nearest_rows(
    source: RowSource, query: Tensor, searches: Sequence[Search], ties: Ties, depth: int
) -> list[list[Neighbours]]:
    """Return rows and distances ``(Q, depth)`` of the nearest in every form of every search, by one pass.

    Args:
        source: The gallery of N rows.
        query: ``(Q, D)`` whole queries.
        searches: What is asked.
        ties: Order of equally near rows, of all N.
        depth: How many rows, 1 to N.
    """
    streams = [
        [NeighbourStream(form, depth, search.metric, ties.first) for form in search.cut(query)] for search in searches
    ]
    places = torch.empty_like(ties.order)
    places[ties.order] = torch.arange(len(places))
    start = 0
    for block in blocks_of(source):
        own = places[start : start + len(block)]
        for search, line in zip(searches, streams, strict=True):
            for form, stream in zip(search.cut(block), line, strict=True):
                stream.add(form, own)
        start += len(block)
    # each stream is let go with its result: of 10 000 queries all of them hold half a gigabyte
    return [[_rows(line.pop(0).result(), ties) for _ in range(len(line))] for line in streams]


def _rows(found: Neighbours, ties: Ties) -> Neighbours:
    """Return neighbours by row instead of place."""
    return Neighbours(found.distances, ties.order[found.indices])
