# SPDX-License-Identifier: Apache-2.0
"""Measure accuracy against kept dimensions: what an embedding is worth when only k numbers of it are stored.

The protocol is that of `lightning_monocon.functional.truncation_curve`, and its functions do the work.
Embeddings that were trained with nested prefixes are cut as they are meant to be: the first k numbers, neither centred
nor projected, by cosine. In one dimension a cosine is only a sign, so k = 1 says little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_monocon.functional.knn_accuracy import majority_vote
from lightning_monocon.functional.quantisation import Storage, fit_quantiser, vector_bytes
from lightning_monocon.functional.spectrum import PrincipalComponents, numerical_rank, principal_components
from lightning_monocon.functional.truncation_curve import projected, ties_of, truncated
from lightning_monocon.scorecard.embeddings import NEIGHBOURS, EmbeddingSet

Measure = Literal["knn_accuracy", "recall_at_1"]
"""What arms are compared by: the 5-NN vote, or the share of queries whose nearest neighbour is right."""

RECALL_AT = (1, 2, 5, 10, 20, 50)
"""Neighbours among which a right label counts for Recall@r, as far as the gallery has rows."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """Hold the accuracy of one embedding at each number of kept dimensions.

    Attributes:
        dims: K increasing numbers of kept dimensions.
        knn_hits: ``(K, Q)`` bool: the 5-NN vote is right for this query.
        recall_hits: ``(K, Q)`` bool: the nearest neighbour has the query's label.
        recall: For each of ``dims`` the share of queries with their label among the r nearest, by r.
        storage: How the coordinates are kept.
    """

    dims: tuple[int, ...]
    knn_hits: Tensor
    recall_hits: Tensor
    recall: tuple[dict[int, float], ...]
    storage: Storage = "float32"

    def hits(self, measure: Measure) -> Tensor:
        """Return the ``(K, Q)`` hits that a measure counts."""
        return self.knn_hits if measure == "knn_accuracy" else self.recall_hits

    @property
    def bytes(self) -> tuple[int, ...]:
        """Bytes of one stored vector, for each of ``dims``."""
        return tuple(vector_bytes(k, self.storage) for k in self.dims)

    @property
    def knn_accuracy(self) -> tuple[float, ...]:
        """Share of queries that the 5-NN vote gets right, for each of ``dims``."""
        return _shares(self.knn_hits)

    @property
    def recall_at_1(self) -> tuple[float, ...]:
        """Share of queries whose nearest neighbour has their label, for each of ``dims``."""
        return _shares(self.recall_hits)

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

    With the rank an arm competes with all it has at every larger size. Prefixes obey it too, so that every arm has the
    same sizes: none needs more numbers than its rank.
    """
    most = min(max(rank, 1), width)
    return tuple(sorted({*(k for k in default_dims(width) if k <= most), most, width}))


def measure_frontier(
    data: EmbeddingSet, dims: Iterable[int] | None = None, basis: PrincipalComponents | None = None
) -> Frontier:
    """Measure 5-NN accuracy and Recall@r for each number of kept dimensions.

    Args:
        data: Gallery and queries.
        dims: Numbers of dimensions to keep; by default `default_dims` up to the gallery's rank, and D.
        basis: Principal components of the gallery's unit rows, if they are known already.

    Raises:
        ValueError: If a number is below 1, above D, or above the gallery's rank.
    """
    basis = principal_components(data.gallery) if basis is None else basis
    rank, width = numerical_rank(basis.variances), data.dim
    kept = affordable_dims(rank, width) if dims is None else _checked(tuple(sorted(set(dims))), rank, width)
    ties = ties_of(data.gallery, data.gallery_labels, data.query)
    found = [ties.nearest(*_coordinates(data, basis, k), _count(data)) for k in kept]
    return _judged(data, kept, torch.stack(found), "float32")


def measure_rounded(data: EmbeddingSet, dtype: Storage, basis: PrincipalComponents) -> Frontier:
    """Measure the frontier of decoded int8 or binary codes, at powers of two up to the rank.

    Unlike `measure_frontier` it projects at full width too, and it centres prefixes: coordinates must be centred
    to be rounded.
    """
    limit = max(1, numerical_rank(basis.variances))
    powers = tuple(1 << i for i in range(limit.bit_length()))
    # Below 8 bits a byte is not full: of those sizes only the most is worth measuring.
    kept = powers if dtype != "binary" else powers[3:] or powers[-1:]

    axes = basis if data.reading == "pca" else basis._replace(components=torch.eye(data.dim, dtype=basis.mean.dtype))
    gallery, query = (projected(rows, axes, kept[-1]).float() for rows in (data.gallery, data.query))
    quantiser = fit_quantiser(gallery, dtype)
    gallery, query = (quantiser.decode(quantiser.codes(rows)) for rows in (gallery, query))

    ties = ties_of(data.gallery, data.gallery_labels, data.query)
    found = [ties.nearest(gallery[:, :k], query[:, :k], _count(data), quantiser.metric) for k in kept]
    return _judged(data, kept, torch.stack(found), dtype)


def _judged(data: EmbeddingSet, kept: tuple[int, ...], found: Tensor, dtype: Storage) -> Frontier:
    """Return what the neighbours ``found`` ``(K, Q, neighbours)`` get right."""
    matches = data.gallery_labels[found]
    truth = data.query_labels
    right = matches == truth[:, None]
    votes = majority_vote(matches[..., :NEIGHBOURS].flatten(0, 1))
    return Frontier(
        dims=kept,
        knn_hits=votes.view(right.shape[:2]) == truth,
        recall_hits=right[..., 0],
        recall=tuple(_recall(line) for line in right),
        storage=dtype,
    )


def _count(data: EmbeddingSet) -> int:
    return min(RECALL_AT[-1], len(data.gallery))


def _coordinates(data: EmbeddingSet, basis: PrincipalComponents, k: int) -> tuple[Tensor, Tensor]:
    """Return gallery and queries cut to k numbers, as the embeddings are meant to be read."""
    if data.reading == "prefix":
        return data.gallery[:, :k], data.query[:, :k]
    return truncated(data.gallery, basis, k), truncated(data.query, basis, k)


def _recall(right: Tensor) -> dict[int, float]:
    within = right.cumsum(1) > 0  # (Q, neighbours)
    return {r: float(within[:, r - 1].double().mean()) for r in RECALL_AT if r <= within.shape[1]}


def _checked(dims: tuple[int, ...], rank: int, width: int) -> tuple[int, ...]:
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


def _shares(hits: Tensor) -> tuple[float, ...]:
    return tuple(hits.double().mean(1).tolist())
