# SPDX-License-Identifier: Apache-2.0
"""Score an embedding whose gallery does not fit into memory, in three passes over its files.

The scores are those of `lightning_monocon.scorecard.scores.measure_all`, by the same functions, but no codes are
fitted: the best plain numbers stand for them. What a pass finds is kept by row (a few numbers each) and by query; the
vectors are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.neighbours import Neighbours
from lightning_monocon.functional.quantisation import ROUNDED, Storage, fit_quantiser
from lightning_monocon.functional.row_keys import direction_keys
from lightning_monocon.functional.spectrum import PrincipalComponents
from lightning_monocon.functional.truncation_curve import projected, tie_keys, ties_of_keys, truncated
from lightning_monocon.scorecard.codes import best_plain
from lightning_monocon.scorecard.copies import Copies, Directions
from lightning_monocon.scorecard.embeddings import Reading
from lightning_monocon.scorecard.frontier import Frontier, affordable_dims, checked_dims, rounded_dims, turned_bits
from lightning_monocon.scorecard.row_files.passes import Search, largest_coordinates, nearest_rows, survey
from lightning_monocon.scorecard.row_files.source import RowSource
from lightning_monocon.scorecard.scores import GROUPS, Score, leaks, spectral_figures
from lightning_monocon.scorecard.truths import Found, LabelTruth, NeighbourTruth, Truth
from lightning_monocon.scorecard.truths.neighbours import reference_doubts
from lightning_monocon.scorecard.truths.order import equal_row_order
from lightning_monocon.scorecard.truths.truth import distinct

_REFERENCE = 10
"""Neighbours at full width by which rows without a known answer are judged, as `NeighbourTruth.of` takes them."""


@dataclass(frozen=True, eq=False)
class StreamedSet:
    """Hold what `EmbeddingSet` does, with a gallery that is read from files.

    Args:
        gallery: The rows that are searched.
        query: ``(Q, D)``.
        truths: What is known. If there is none, rows are judged by their neighbours at full width.
        neighbours: Whether these neighbours are a truth beside the others.
        sides: Further rows ``(R, D)`` by name.
        arm: Name of the model.
        seed: Seed of its training run.
        stage: Which checkpoint.
        reading: How vectors are cut to fewer dimensions.
    """

    gallery: RowSource
    query: Tensor
    truths: tuple[Truth, ...] = ()
    neighbours: bool = False
    sides: Mapping[str, Tensor] = field(default_factory=dict)
    arm: str = "embeddings"
    seed: int = 0
    stage: str = "last"
    reading: Reading = "pca"


class _Line(NamedTuple):
    """Hold one storage type, the numbers of dimensions that are kept in it, and the search for them."""

    storage: Storage
    dims: tuple[int, ...]
    search: Search


def measure_streamed(
    data: StreamedSet, dims: Iterable[int] | None = None, extra: Iterable[int] = (), rounded: bool = False
) -> tuple[Score, ...]:
    """Score a set whose gallery is read block by block; arguments, result and errors are those of `measure_all`."""
    groups, keys, known, sample = survey(data.gallery, GROUPS)
    directions = Directions(known.numpy(), direction_keys(data.query).numpy())
    facts = _facts(data, directions.copies(lambda: sample.with_rows(data.query).rows))
    figures, basis = spectral_figures(groups, data.query)
    rank, width = figures["rank"], data.gallery.width
    wanted = affordable_dims(rank, width) if dims is None else tuple(dims)
    added = (k for k in (*extra, figures["n99"]) if 1 <= k <= rank)
    kept = checked_dims(tuple(sorted({*wanted, *added, width})), rank, width)
    lines = [_Line("float32", kept, Search(lambda rows: (_cut(rows, data.reading, basis, k) for k in kept)))]
    lines += [_rounded(data, dtype, basis, rank) for dtype in ROUNDED] if rounded else []

    found = _searched(data, lines, keys)
    truths = data.truths
    if data.neighbours or not truths:
        truths = (*truths, _reference(data, found[0][-1], keys, figures["n99"]))
    frontiers = [_judged(data, line, nearest, truths) for line, nearest in zip(lines, found, strict=True)]
    return tuple(
        Score(
            **facts | leaks(directions, truth),
            **figures,
            truth=truth,
            chance=truth.chance,
            frontier=frontiers[0][place],
            rounded=tuple(line[place] for line in frontiers[1:]),
            codes=best_plain([line[place] for line in frontiers], width) if rounded else None,
        )
        for place, truth in enumerate(truths)
    )


def _cut(rows: Tensor, reading: Reading, basis: PrincipalComponents, k: int) -> Tensor:
    return rows[:, :k] if reading == "prefix" else truncated(rows, basis, k)


def _rounded(data: StreamedSet, dtype: Storage, basis: PrincipalComponents, rank: int) -> _Line:
    """Return the line of decoded int8 or binary codes, as `measure_rounded_frontiers` has it."""
    width = data.gallery.width
    dims = rounded_dims(width if data.reading == "prefix" else max(1, rank), dtype)
    axes = basis if data.reading == "pca" else basis._replace(components=torch.eye(width, dtype=basis.mean.dtype))
    # bits need no calibration, so they need no pass
    largest = largest_coordinates(data.gallery, axes, dims[-1]) if dtype == "int8" else torch.ones(dims[-1])
    quantiser = fit_quantiser(largest[None], dtype)

    def cut(rows: Tensor) -> Iterable[Tensor]:
        whole = projected(rows, axes, dims[-1]).float()
        if dtype == "binary":
            return (turned_bits(whole, k) for k in dims)
        coded = quantiser.decode(quantiser.codes(whole))
        return (coded[:, :k] for k in dims)

    return _Line(dtype, dims, Search(cut, quantiser.metric))


def _searched(data: StreamedSet, lines: Sequence[_Line], keys: Tensor) -> list[list[Neighbours]]:
    """Return the nearest rows of every line, as deep as the deepest truth asks."""
    rows = data.gallery.length
    depths = [truth.depth(rows) for truth in data.truths]
    if data.neighbours or not data.truths:
        depths.append(max(NeighbourTruth(torch.empty(0, _REFERENCE), rows, "").depth(rows), min(_REFERENCE + 1, rows)))
    labels = next((truth.gallery for truth in data.truths if isinstance(truth, LabelTruth)), None)
    ties = ties_of_keys(keys, equal_row_order(rows, labels), tie_keys(data.query))
    return nearest_rows(data.gallery, data.query, [line.search for line in lines], ties, max(1, *depths))


def _reference(data: StreamedSet, whole: Neighbours, keys: Tensor, n99: int) -> NeighbourTruth:
    """Return the neighbours at full width as a truth."""
    rows, k = data.gallery.length, min(_REFERENCE, whole.indices.shape[1])
    gaps = whole.distances[:, k] - whole.distances[:, k - 1] if whole.distances.shape[1] > k else None
    collapsed = data.gallery.width > 1 and n99 <= 1
    doubts = reference_doubts(data.arm, rows, len(distinct(keys)), collapsed, gaps, k)
    return NeighbourTruth(whole.indices[:, :k].contiguous(), rows, data.arm, warnings=doubts)


def _judged(
    data: StreamedSet, line: _Line, found: Sequence[Neighbours], truths: Sequence[Truth]
) -> tuple[Frontier, ...]:
    """Return a frontier for each truth."""
    cut = zip(line.search.cut(data.query), *map(line.search.cut, data.sides.values()), strict=True)
    values: list[list[dict[str, Tensor]]] = [[] for _ in truths]
    for nearest, (query, *others) in zip(found, cut, strict=True):
        sides = dict(zip(data.sides, others, strict=True))
        form = Found(query[:0], query, sides, line.search.metric, nearest.indices)
        for place, truth in enumerate(truths):
            values[place].append(truth.judge(form))
    return tuple(
        Frontier(
            line.dims, {name: torch.stack([form[name] for form in forms]) for name in truth.measures}, line.storage
        )
        for truth, forms in zip(truths, values, strict=True)
    )


def _facts(data: StreamedSet, copies: Copies) -> dict[str, Any]:
    """Return what a score says of the rows themselves."""
    return {
        "arm": data.arm,
        "seed": data.seed,
        "stage": data.stage,
        "n": data.gallery.length,
        "n_query": len(data.query),
        "dim": data.gallery.width,
        **copies._asdict(),
        "reading": data.reading,
    }
