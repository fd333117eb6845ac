# SPDX-License-Identifier: Apache-2.0
"""Quantise by a sum of centroids in no order of importance, found by local search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_monocon.codes.product import Search, summed

_BLOCK = 1024  # rows at a time: tables of distances that stay in the cache
_ROUNDS = 100  # of local search at most; most rows settle within five


@dataclass(frozen=True, eq=False)
class AdditiveQuantiser:
    """Store one byte per stage: the number of one of its centroids, all of which are summed.

    A beam search finds first codes. Then one stage after another takes the centroid that is best given the others
    (iterated conditional modes, as in LSQ: Martinez et al. 2016), until nothing changes. All of it is in float64.

    Attributes:
        centroids: ``(stages, 256, k)`` float32.
        beam: Candidates kept between stages of the first search.
    """

    kind: ClassVar[str] = "additive"

    centroids: Tensor = field(repr=False)
    beam: int = 1

    @property
    def bytes(self) -> int:
        """Bytes of one code."""
        return len(self.centroids)

    @cached_property
    def _search(self) -> Search:
        return Search.of(self.centroids, self.beam, torch.float64)

    def encode(self, coordinates: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of coordinates ``(N, k)``."""
        blocks = torch.split(coordinates.double(), _BLOCK)
        return torch.cat([self._improved(block, self._search(block)[0]) for block in blocks]).to(torch.uint8)

    def _improved(self, rows: Tensor, codes: Tensor) -> Tensor:
        """Return codes ``(N, stages)`` that no change of one stage improves, from first ones."""
        stages, count, _ = self.centroids.shape
        found = self._search
        alone = (found.halves - rows @ found.centroids.T).reshape(len(rows), stages, count)
        moving = torch.arange(len(rows), device=rows.device)
        for _ in range(_ROUNDS):
            before = codes[moving]
            after = before.clone()
            for stage in range(stages):
                costs = alone[moving, stage]
                for other in range(stages):
                    if other != stage:
                        costs = costs + found.between(other, stage)[after[:, other]]
                after[:, stage] = costs.argmin(1)
            codes[moving] = after
            moving = moving[(after != before).any(1)]
            if not len(moving):
                break
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the coordinates ``(N, k)`` float32 of codes ``(N, bytes)`` uint8."""
        return summed(self.centroids, codes.long())

    def description(self) -> Mapping[str, Any]:
        """Return what is not a tensor, as plain values for JSON."""
        return {"beam": self.beam}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tables, by name."""
        return {"centroids": self.centroids}
