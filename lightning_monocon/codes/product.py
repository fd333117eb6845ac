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
        return [{dtype: Search.of(table.to(dtype), self.beam) for dtype in types} for table in self.centroids]

    def encode(self, coordinates: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of coordinates ``(N, k)``.

        The search is defined in float64; of equal costs the smaller number wins. It runs in float32, and again in
        float64 for rows that float32 cannot decide.
        """
        exact = coordinates.double() * self.weights.double()
        parts = torch.split(exact, [table.shape[2] for table in self.centroids], 1)
        return torch.cat([nearest(part, found) for part, found in zip(parts, self._searches, strict=True)], 1)

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
        centroids: ``(stages, 256, width)``.
        halves: ``(stages * 256,)``, half the squared length of each centroid.
        products: ``(stages, 256, stages, 256)`` inner products of the centroids.
        beam: Candidates kept between stages.
    """

    centroids: Tensor
    halves: Tensor
    products: Tensor
    beam: int

    @classmethod
    def of(cls, centroids: Tensor, beam: int) -> Search:
        """Compute the tables."""
        flat = centroids.flatten(0, 1)
        shape = (*centroids.shape[:2], *centroids.shape[:2])
        return cls(centroids, flat.square().sum(1) / 2, (flat @ flat.T).reshape(shape), beam)

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes ``(N, stages)`` of rows ``(N, width)``, and the smallest margin ``(N,)`` of the choices made."""
        stages, count, _ = self.centroids.shape
        alone = (self.halves - rows @ self.centroids.flatten(0, 1).T).reshape(len(rows), stages, count)
        kept = 1 if stages == 1 else self.beam
        costs, chosen, margin = smallest(alone[:, 0], kept)
        codes = chosen[:, :, None]
        for stage in range(1, stages):
            table = costs[:, :, None] + alone[:, stage, None]
            for earlier in range(stage):
                table = table + self.products[earlier, :, stage][codes[:, :, earlier]]
            costs, chosen, gap = smallest(table.flatten(1), self.beam if stage < stages - 1 else 1)
            parents = codes.gather(1, (chosen // count)[:, :, None].expand(-1, -1, stage))
            codes, margin = torch.cat([parents, (chosen % count)[:, :, None]], 2), torch.minimum(margin, gap)
        return codes[:, 0], margin


def smallest(costs: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ``count`` smallest of each row ``(N, K)``, where they are, and how far the next is from the last."""
    if count == 1:
        least, place = costs.min(1, keepdim=True)
        return least, place, costs.scatter(1, place, torch.inf).amin(1) - least[:, 0]
    if costs.dtype == torch.float64:  # decides, so that ties count: `topk` leaves their order open
        values, places = (found[:, : count + 1] for found in costs.sort(dim=1, stable=True))
    else:
        values, places = costs.topk(count + 1, 1, largest=False)
    return values[:, :-1], places[:, :-1], values[:, -1] - values[:, -2]


def nearest(rows: Tensor, searches: Mapping[torch.dtype, Search]) -> Tensor:
    """Return codes ``(N, stages)`` uint8 of rows ``(N, width)`` float64, those of the search in float64.

    On a GPU, or where the user allows it, a float32 product may have fewer digits than its type: there it is not used.
    """
    if rows.device.type != "cpu" or torch.get_float32_matmul_precision() != "highest":
        exact = searches[torch.float64]
        return torch.cat([exact(block)[0] for block in torch.split(rows, _BLOCK)]).to(torch.uint8)
    longest = float(searches[torch.float64].halves.max().mul(2).sqrt())
    stages, _, width = searches[torch.float64].centroids.shape
    rounding = 4 * (width + stages * stages + 2) * torch.finfo(torch.float32).eps
    codes = torch.empty(len(rows), stages, dtype=torch.uint8)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        found, margin = searches[torch.float32](block.float())

        # every sum has terms of at most (|x| + stages |c|) |c|, and rounds once a term
        bound = rounding * longest * stages * (torch.linalg.vector_norm(block, dim=1) + stages * longest)
        doubtful = (margin <= bound).nonzero().flatten()
        if len(doubtful):
            found[doubtful] = searches[torch.float64](block[doubtful])[0]
        codes[start : start + _BLOCK] = found
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
