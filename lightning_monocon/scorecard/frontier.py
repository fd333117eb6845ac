# SPDX-License-Identifier: Apache-2.0
"""Measure a truth's figures against kept dimensions: what an embedding is worth when only k numbers of it are stored.

The protocol is that of `lightning_monocon.functional.truncation_curve`, and its functions do the work.
Embeddings that were trained with nested prefixes are cut as they are meant to be: the first k numbers, neither centred
nor projected, by cosine. In one dimension a cosine is only a sign, so k = 1 says little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import torch
from torch import Tensor

from lightning_monocon.codes.families import random_rotation
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.quantisation import Storage, dims_within, fit_quantiser, vector_bytes
from lightning_monocon.functional.spectrum import PrincipalComponents, numerical_rank, principal_components
from lightning_monocon.functional.truncation_curve import Ties, projected
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.truths import Found, Truth
from lightning_monocon.scorecard.truths.labels import RECALL_AT

Measure = str
"""What arms are compared by: a name of :attr:`Truth.measures`, such as ``"knn_accuracy"`` or ``"ndcg@10"``."""

Held = Storage | Literal["code"]
"""How vectors are kept: numbers of a storage type, or a code, whose bytes then stand for the number of dimensions."""

_PART = 2048  # rows that are changed at a time

_OLD_NAMES = {"recall_at_1": "recall@1"}


@dataclass(frozen=True, eq=False)
class Frontier:
    """Hold what a truth finds of one embedding at each number of kept dimensions.

    Attributes:
        dims: K increasing numbers of kept dimensions.
        values: For each measure of the truth, the first being the one that arms are compared by, ``(K, U)`` float64: a
            number for each of ``dims`` and each unit (query, or pair of rows).
        storage: How the coordinates are kept.
    """

    dims: tuple[int, ...]
    values: Mapping[Measure, Tensor]
    storage: Held = "float32"

    def hits(self, measure: Measure | None = None) -> Tensor:
        """Return the ``(K, U)`` numbers of a measure, the first one by default.

        Raises:
            ValueError: If it was not measured.
        """
        name = next(iter(self.values)) if measure is None else _OLD_NAMES.get(measure, measure)
        check_choice("measure", name, self.values)
        return self.values[name]

    def means(self, measure: Measure | None = None) -> tuple[float, ...]:
        """Return the mean of a measure over the units, for each of ``dims``; of the first measure by default."""
        return tuple(self.hits(measure).mean(1).tolist())

    @property
    def bytes(self) -> tuple[int, ...]:
        """Bytes of one stored vector, for each of ``dims``."""
        return tuple(held_bytes(k, self.storage) for k in self.dims)

    @property
    def knn_hits(self) -> Tensor:
        """``(K, Q)`` bool: the 5-NN vote is right for this query. Of labels only, as all that follow."""
        return self.hits("knn_accuracy") > 0

    @property
    def recall_hits(self) -> Tensor:
        """``(K, Q)`` bool: the nearest neighbour has the query's label."""
        return self.hits("recall@1") > 0

    @property
    def knn_accuracy(self) -> tuple[float, ...]:
        """Share of queries that the 5-NN vote gets right, for each of ``dims``."""
        return self.means("knn_accuracy")

    @property
    def recall_at_1(self) -> tuple[float, ...]:
        """Share of queries whose nearest neighbour has their label, for each of ``dims``."""
        return self.means("recall@1")

    @property
    def recall(self) -> tuple[dict[int, float], ...]:
        """For each of ``dims`` the share of queries with their label among the r nearest, by r."""
        lines = {r: self.means(f"recall@{r}") for r in RECALL_AT if f"recall@{r}" in self.values}
        return tuple({r: line[place] for r, line in lines.items()} for place in range(len(self.dims)))

    def index(self, budget: int) -> int:
        """Return the position in ``dims`` of the most dimensions within ``budget``.

        An arm that has fewer dimensions than the budget (a narrow bottleneck) competes with all it has.

        Raises:
            ValueError: If the budget is below the smallest of ``dims``.
        """
        inside = [i for i, k in enumerate(self.dims) if k <= budget]
        if not inside:
            raise ValueError(f"`budget` must be at least {self.dims[0]}, the fewest dimensions measured; got {budget}.")
        return inside[-1]


def held_bytes(k: int, held: Held) -> int:
    """Return the bytes of ``k`` numbers of a storage type, or of a code of ``k`` bytes."""
    return k if held == "code" else vector_bytes(k, held)


def default_dims(width: int) -> tuple[int, ...]:
    """Return the kept dimensions of tables and figures: 1, 2, 3, 4, 6, 8, 12, 16, ... below ``width``, and ``width``.

    Example:
        >>> default_dims(16)
        (1, 2, 3, 4, 6, 8, 12, 16)
        >>> default_dims(5)
        (1, 2, 3, 4, 5)
    """
    powers = [1 << i for i in range(width.bit_length())]
    grid = {1, *powers, *(3 * power for power in powers)}
    return (*sorted(k for k in grid if k < width), width)


def affordable_dims(rank: int, width: int) -> tuple[int, ...]:
    """Return the default numbers of dimensions up to the rank, the rank itself, and the full width.

    Without the rank, an arm of rank 31 would compete at 32 dimensions with 24 of its own. Prefixes obey it too, so that
    every arm has the same sizes.
    """
    limit = max(rank, 1)
    return tuple(sorted({*(k for k in default_dims(width) if k <= limit), limit, width}))


def rounded_dims(limit: int, dtype: Storage) -> tuple[int, ...]:
    """Return what powers of two bytes hold of ``limit`` numbers in a storage type, up to all of them.

    Example:
        >>> rounded_dims(12, "int8"), rounded_dims(12, "binary")
        ((1, 2, 4, 8, 12), (8, 12))
    """
    budgets = (1 << power for power in range(vector_bytes(limit, dtype).bit_length() + 1))
    return tuple(sorted({min(dims_within(budget, dtype), limit) for budget in budgets}))


def measure_frontier(
    data: EmbeddingSet, dims: Iterable[int] | None = None, basis: PrincipalComponents | None = None
) -> Frontier:
    """Measure what the set's first truth finds for each number of kept dimensions.

    Args:
        data: Gallery and queries.
        dims: Numbers of dimensions to keep; by default `default_dims` up to the gallery's rank, and D.
        basis: Principal components of the gallery's unit rows, if they are known already.

    Raises:
        ValueError: If a number is below 1, above D, or above the gallery's rank, or nothing is known of the set.
    """
    return measure_frontiers(data, _first(data), dims, basis)[0]


def measure_rounded(data: EmbeddingSet, dtype: Storage, basis: PrincipalComponents) -> Frontier:
    """Measure the frontier of decoded int8 or binary codes, by the set's first truth."""
    return measure_rounded_frontiers(data, _first(data), (dtype,), basis)[0][0]


def measure_frontiers(
    data: EmbeddingSet,
    truths: Sequence[Truth],
    dims: Iterable[int] | None = None,
    basis: PrincipalComponents | None = None,
    coordinates: Found | None = None,
) -> tuple[Frontier, ...]:
    """Measure what each truth finds, by one search for all; arguments and errors are those of `measure_frontier`.

    The `principal_coordinates` of the set need not be computed again if they are known.
    """
    basis = principal_components(data.gallery) if basis is None else basis
    rank, width = numerical_rank(basis.variances), data.dim
    kept = affordable_dims(rank, width) if dims is None else checked_dims(tuple(sorted(set(dims))), rank, width)
    whole = width in kept and data.reading == "pca"  # nothing is cut, so the vectors are used as they are
    sizes = kept[:-1] if whole else kept
    cut = _longest_cut(data, basis, sizes, coordinates)
    nearest: Iterable[Tensor] | None = None
    if depth := _depth(data, truths):
        together = whole and cut.gallery.shape[1] == width and rank > 0  # rows that are all equal have no coordinates
        rows = (data.gallery, data.query) if together else None
        nearest = data.ties.nearest_of_prefixes(cut.gallery, cut.query, sizes, depth, rows)
        if whole and not together:
            nearest = chain(nearest, [data.nearest(depth)])
    forms = [*(_narrowed(cut, k) for k in sizes), *([_each_side(data, lambda rows: rows)] if whole else [])]
    return _judged(truths, kept, _found(forms, nearest), "float32")


def single_precision(coordinates: Found) -> Found:
    """Return coordinates in float32, which all that is rounded further is made of."""
    return _each_side(coordinates, Tensor.float)


def principal_coordinates(data: EmbeddingSet, basis: PrincipalComponents) -> Found:
    """Return all principal coordinates of each side, float64, of which any number of the first ones is a cut."""
    return _each_side(data, lambda rows: projected(rows, basis, data.dim))


def measure_rounded_frontiers(
    data: EmbeddingSet,
    truths: Sequence[Truth],
    dtypes: Sequence[Storage],
    basis: PrincipalComponents,
    coordinates: Found | None = None,
) -> list[tuple[Frontier, ...]]:
    """Measure the frontiers of decoded int8 or binary codes, at what powers of two bytes hold of the vector.

    A vector has as many numbers to store as the rank, a prefix as many as the width: its rank may lie in the last ones.
    Unlike `measure_frontiers` it projects at full width too, and it centres prefixes: coordinates must be centred
    to be rounded.

    Args:
        data: Gallery and queries.
        truths: What is known of them.
        dtypes: Storage types.
        basis: Principal components of the gallery's unit rows.
        coordinates: The `principal_coordinates` of the set, of any precision, if they are known.

    Returns:
        For each of ``dtypes`` the frontier of each truth.
    """
    limit = data.dim if data.reading == "prefix" else max(1, numerical_rank(basis.variances))
    if data.reading == "pca" and coordinates is not None:
        whole = _each_side(coordinates, lambda rows: rows[:, :limit].float())
    else:
        components = basis.components if data.reading == "pca" else torch.eye(data.dim, dtype=basis.mean.dtype)
        axes = basis._replace(components=components)
        whole = _each_side(data, lambda rows: projected(rows, axes, limit).float())
    depth = _depth(data, truths)
    return [_rounded(whole, data.ties, truths, dtype, depth) for dtype in dtypes]


def _rounded(whole: Found, ties: Ties, truths: Sequence[Truth], dtype: Storage, depth: int) -> tuple[Frontier, ...]:
    """Return the frontiers of one storage type, from all coordinates that there are to store."""
    kept = rounded_dims(whole.gallery.shape[1], dtype)
    if dtype == "binary":
        return _judged(truths, kept, (_searched_bits(whole, k, ties, depth) for k in kept), dtype)
    quantiser = fit_quantiser(whole.gallery, dtype)
    coded = _each_side(whole, lambda rows: _by_parts(rows, lambda part: quantiser.decode(quantiser.codes(part))))
    nearest = ties.nearest_of_prefixes(coded.gallery, coded.query, kept, depth) if depth else None
    return _judged(truths, kept, _found((_narrowed(coded, k) for k in kept), nearest), dtype)


def _by_parts(rows: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return rows ``(N, k)`` changed to others of the same shape and type, some at a time: temporaries stay small."""
    found = torch.empty_like(rows)
    for part, changed in zip(torch.split(rows, _PART), torch.split(found, _PART), strict=True):
        changed.copy_(change(part))
    return found


def turned_bits(coordinates: Tensor, k: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the bits ``(N, k)`` of the first k coordinates as 1 and -1, turned at random first as an export does.

    The leading coordinates carry most, and would get one bit like the rest; turned, every bit tells as much.
    """
    rotation = random_rotation(k).to(coordinates).T
    found = torch.empty(len(coordinates), k, dtype=dtype)
    for part, bits in zip(torch.split(coordinates, _PART), torch.split(found, _PART), strict=True):
        bits.copy_(part[:, :k] @ rotation > 0).mul_(2).sub_(1)
    return found


def _first(data: EmbeddingSet) -> tuple[Truth, ...]:
    truths = data.judges()[:1]
    if not truths:
        raise ValueError(
            "`data` must have labels or truths; it has neither: add `NeighbourTruth.of(reference)` to its truths."
        )
    return truths


def _depth(data: EmbeddingSet, truths: Sequence[Truth]) -> int:
    return max(truth.depth(len(data.gallery)) for truth in truths)


def _found(forms: Iterable[Found], nearest: Iterable[Tensor] | None) -> Iterator[Found]:
    """Yield forms with what is ``nearest`` in each, if it was asked."""
    if nearest is None:
        return iter(forms)
    return (replace(form, nearest=rows) for form, rows in zip(forms, nearest, strict=True))


def _searched_bits(whole: Found, k: int, ties: Ties, depth: int) -> Found:
    """Return k turned bits of each row, with what is nearest in them; bits of fewer numbers are none of their parts."""
    bits = replace(_each_side(whole, lambda rows: turned_bits(rows, k, torch.int8)), metric="euclidean")
    if not depth:
        return bits
    (nearest,) = ties.nearest_of_prefixes(bits.gallery, bits.query, (k,), depth)
    return replace(bits, nearest=nearest)


def _judged(
    truths: Sequence[Truth], kept: tuple[int, ...], forms: Iterable[Found], dtype: Storage
) -> tuple[Frontier, ...]:
    """Return a frontier for each truth, from the forms in the order of ``kept``."""
    lines = zip(*([truth.judge(form) for truth in truths] for form in forms), strict=True)
    return tuple(
        Frontier(kept, {name: torch.stack([values[name] for values in line]) for name in truth.measures}, dtype)
        for line, truth in zip(lines, truths, strict=True)
    )


def _each_side(data: EmbeddingSet | Found, change: Callable[[Tensor], Tensor]) -> Found:
    """Return gallery, queries and further sides, each changed."""
    sides = {name: change(rows) for name, rows in data.sides.items()}
    return Found(change(data.gallery), change(data.query), sides, getattr(data, "metric", "cosine"))


def _narrowed(found: Found, k: int) -> Found:
    return _each_side(found, lambda rows: rows[:, :k])


def _longest_cut(
    data: EmbeddingSet, basis: PrincipalComponents, sizes: tuple[int, ...], coordinates: Found | None
) -> Found:
    """Return the set as its embeddings are meant to be cut, at the largest size; smaller ones are its prefixes."""
    most = max(sizes, default=1)
    if data.reading == "prefix":
        return _each_side(data, lambda rows: rows[:, :most])
    return coordinates or _each_side(data, lambda rows: projected(rows, basis, most))


def checked_dims(dims: tuple[int, ...], rank: int, width: int) -> tuple[int, ...]:
    """Return the numbers of dimensions to keep; ValueError if one is below 1, above D, or above the rank."""
    wrong = [k for k in dims if not 1 <= k <= width]
    if wrong or not dims:
        raise ValueError(f"`dims` must be numbers of dimensions from 1 to {width}, the width; got {wrong or 'none'}.")
    empty = [k for k in dims if max(rank, 1) < k < width]
    if empty:
        raise ValueError(
            f"`dims` must not exceed {rank}, the gallery's rank: directions beyond it hold rounding error only; "
            f"got {empty}."
        )
    return dims
