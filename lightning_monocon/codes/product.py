# SPDX-License-Identifier: Apache-2.0
"""Quantise groups of consecutive coordinates, each by centroids of 256, or by sums of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from lightning_monocon.functional.products import inner_products

CENTROIDS = 256
_BLOCK = 1024  # rows at a time: tables of distances that stay in the cache


@dataclass(frozen=True, eq=False)
class ProductQuantiser:
    """Store one byte per group and stage: the number of a centroid.

    A group's code is the sum of one centroid of each stage. It is searched among ``centroids`` in weighted coordinates,
    with ``beam`` candidates kept from stage to stage, and decoded from ``points``, which may be other ones.

    Attributes:
        weights: ``(k,)`` float32, positive; multiply the coordinates before the search.
        centroids: One ``(stages, 256, width)`` float32 per group, in the order of the coordinates.
        points: What the codes stand for, of the same shapes, in unweighted coordinates.
        beam: Candidates kept between stages.
    """

    kind: ClassVar[str] = "product"

    weights: Tensor = field(repr=False)
    centroids: Sequence[Tensor] = field(repr=False)
    points: Sequence[Tensor] = field(repr=False)
    beam: int = 1

    @property
    def stages(self) -> int:
        """Centroids that are summed per group."""
        return len(self.centroids[0])

    @property
    def bytes(self) -> int:
        """Bytes of one code."""
        return self.stages * len(self.centroids)

    @cached_property
    def _searches(self) -> list[dict[torch.dtype, Search]]:
        types = (torch.float32, torch.float64)
        return [{dtype: Search.of(table, self.beam, dtype) for dtype in types} for table in self.centroids]

    def encode(self, coordinates: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of coordinates ``(N, k)``.

        The search is defined in float64; of equal costs the smaller number wins. It runs in float32, and again in
        float64 for rows that float32 cannot decide.
        """
        widths = [table.shape[2] for table in self.centroids]
        codes = torch.empty(len(coordinates), self.bytes, dtype=torch.uint8, device=coordinates.device)
        for block, out in zip(torch.split(coordinates, _BLOCK), torch.split(codes, _BLOCK), strict=True):
            parts = torch.split(block.double() * self.weights.double(), widths, 1)
            for part, found, own in zip(parts, self._searches, torch.split(out, self.stages, 1), strict=True):
                own.copy_(nearest(part, found))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the coordinates ``(N, k)`` float32 of codes ``(N, bytes)`` uint8."""
        parts = torch.split(codes.long(), self.stages, 1)
        return torch.cat([summed(table, part) for table, part in zip(self.points, parts, strict=True)], 1)

    def description(self) -> Mapping[str, Any]:
        """Return what is not a tensor, as plain values for JSON."""
        return {"groups": len(self.centroids), "stages": self.stages, "beam": self.beam}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tables, by name."""
        centroids = {f"centroids.{g}": table for g, table in enumerate(self.centroids)}
        return {"weights": self.weights, **centroids, **{f"points.{g}": table for g, table in enumerate(self.points)}}


@dataclass(frozen=True, eq=False)
class Search:
    """Hold the tables of a beam search in one group (Babenko and Lempitsky 2014 use the same inner products).

    Attributes:
        centroids: ``(stages * 256, width)``.
        halves: ``(stages * 256,)``, half the squared length of each centroid.
        products: For each stage s, inner products ``(s * 256, 256)`` of the earlier stages' centroids with its own.
        beam: Candidates kept between stages.
        reach: Sum over the stages of the length of the longest centroid.
    """

    centroids: Tensor
    halves: Tensor
    products: Sequence[Tensor]
    beam: int
    reach: Tensor

    @classmethod
    def of(cls, table: Tensor, beam: int, dtype: torch.dtype) -> Search:
        """Compute the tables of centroids ``(stages, 256, width)`` in float64, and round each entry once."""
        exact = table.double()
        flat, squares = exact.flatten(0, 1), exact.square().sum(2)
        products = [(flat[: stage * CENTROIDS] @ own.T).to(dtype) for stage, own in enumerate(exact)]
        reach = squares.amax(1).sqrt().sum()
        return cls(flat.to(dtype), (squares.flatten() / 2).to(dtype), products, beam, reach)

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes ``(N, stages)`` of rows ``(N, width)``, and the smallest margin ``(N,)`` of the choices made."""
        stages = len(self.products)
        alone = (self.halves - inner_products(rows, self.centroids)).reshape(len(rows), stages, CENTROIDS)
        costs, chosen, margin = smallest(alone[:, 0], 1 if stages == 1 else self.beam)
        codes = chosen[:, :, None]
        for stage in range(1, stages):
            rows_of_products = (codes + CENTROIDS * torch.arange(stage, device=rows.device)).flatten(0, 1)
            table = embedding_bag(rows_of_products, self.products[stage], mode="sum").reshape(*costs.shape, CENTROIDS)
            table += costs[:, :, None]
            table += alone[:, stage, None]
            costs, chosen, gap = smallest(table.flatten(1), self.beam if stage < stages - 1 else 1)
            parents = codes.gather(1, (chosen // CENTROIDS)[:, :, None].expand(-1, -1, stage))
            codes, margin = torch.cat([parents, (chosen % CENTROIDS)[:, :, None]], 2), torch.minimum(margin, gap)
        return codes[:, 0], margin

    def between(self, first: int, second: int) -> Tensor:
        """Return the inner products ``(256, 256)`` of one stage's centroids with those of another."""
        if first > second:
            return self.between(second, first).T
        return self.products[second][first * CENTROIDS : (first + 1) * CENTROIDS]

    def rounding(self, rows: Tensor) -> Tensor:
        """Return how far a margin of rows ``(N, width)`` may be off, ``(N,)``: twice the rounding of a cost in float32.

        A cost sums inner products with a row, of ``width`` terms and as a whole at most the row's length times the
        reach, and entries of the tables, at most half the square of the reach. Each is rounded once more where it is
        stored, and once for each term of the cost (Higham 2002, section 3.1).
        """
        stages, width = len(self.products), self.centroids.shape[1]
        terms = stages * (stages + 3) // 2
        lengths = torch.linalg.vector_norm(rows, dim=1)
        bound: Tensor = (width + terms + 3) * lengths * self.reach + (terms + 2) * self.reach**2 / 2
        return bound * torch.finfo(torch.float32).eps


def smallest(costs: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ``count`` smallest of each row ``(N, K)``, where they are, and how far the next is from the last.

    In float64, which decides, the smaller number wins a tie. In float32 ``costs`` are overwritten and on the CPU, where
    NumPy finds a minimum eight times as fast as torch.
    """
    if costs.dtype == torch.float64 and count == 1:
        value, place = costs.min(1, keepdim=True)
        return value, place, costs.scatter(1, place, torch.inf).amin(1) - value[:, 0]
    if costs.dtype == torch.float64:
        values, places = (found[:, : count + 1] for found in costs.sort(dim=1, stable=True))
        return values[:, :-1], places[:, :-1], values[:, -1] - values[:, -2]
    found, numbers = [], []
    for _ in range(count):
        numbers.append(torch.from_numpy(costs.numpy().argmin(1))[:, None])
        found.append(costs.gather(1, numbers[-1]))
        costs.scatter_(1, numbers[-1], torch.inf)
    return torch.cat(found, 1), torch.cat(numbers, 1), costs.amin(1) - found[-1][:, 0]


def nearest(rows: Tensor, searches: Mapping[torch.dtype, Search]) -> Tensor:
    """Return codes ``(N, stages)`` of rows ``(N, width)`` float64, those of the search in float64.

    On a GPU a float32 product may have fewer digits than its type: there it is not used.
    """
    if rows.device.type != "cpu":
        return searches[torch.float64](rows)[0]
    fast = searches[torch.float32]
    codes, margin = fast(rows.float())
    doubtful = (margin <= fast.rounding(rows)).nonzero().flatten()
    if len(doubtful):
        codes[doubtful] = searches[torch.float64](rows[doubtful])[0]
    return codes


def summed(table: Tensor, codes: Tensor) -> Tensor:
    """Return the sum ``(N, width)`` of one centroid of each stage of ``(stages, 256, width)``."""
    total = table[0][codes[:, 0]]
    for stage in range(1, len(table)):
        total = total + table[stage][codes[:, stage]]
    return total


def spans(cuts: Sequence[int]) -> list[slice]:
    """Return the slices between cuts ``0 < ... < k``."""
    return [slice(first, last) for first, last in pairwise(cuts)]
