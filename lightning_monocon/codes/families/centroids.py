# SPDX-License-Identifier: Apache-2.0
"""Find centroids: k-means from few coordinates to all, stage by stage for sums of centroids."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.codes.product import CENTROIDS, Search
from lightning_monocon.functional.products import inner_products

_TRAINING_BEAM, _ROUNDS, _EARLY_ROUNDS = 8, 10, 6
_REFITS, _RIDGE = 2, 10.0
_NARROW = 8  # up to so many coordinates centroids start spread out
_EARLY_ROWS = 16_384  # that choose where centroids start
_MOST_ROWS = 16_384  # a stage sees each row once per candidate of the beam


def fit_stages(rows: Tensor, stages: int, generator: torch.Generator) -> Tensor:
    """Return centroids ``(stages, 256, width)`` whose sums are near the rows ``(N, width)``.

    A later stage is fitted on what each of the eight best candidates of the stages before it leaves: several residuals
    per row, which keeps the centroids from learning the sample by heart.
    """
    if stages > 1:
        rows = rows[torch.randperm(len(rows), generator=generator)[:_MOST_ROWS]]
    left, tables = rows[:, None].contiguous(), []
    for stage in range(stages):
        tables.append(k_means(left.flatten(0, 1), generator))
        if stage < stages - 1:
            further = left.new_empty(len(left), _TRAINING_BEAM, left.shape[2])
            for block, out in zip(torch.split(left, 512), torch.split(further, 512), strict=True):
                out.copy_(_residuals(block, tables[-1]))
            left = further
    table = torch.stack(tables)
    for _ in range(_REFITS if stages > 1 else 0):
        table = refitted(table, rows)
    return table


def refitted(table: Tensor, rows: Tensor) -> Tensor:
    """Return centroids ``(stages, 256, width)`` whose sums are nearest to the rows ``(N, width)`` for the rows' codes.

    They solve the normal equations of least squares, with a ridge that holds them where they are: a centroid that no
    row has stays.
    """
    stages, count, _ = table.shape
    size, search = stages * count, Search.of(table, _TRAINING_BEAM, torch.float32)
    codes = torch.cat([search(block)[0] for block in torch.split(rows, 1024)]) + count * torch.arange(stages)
    pairs = torch.bincount((size * codes[:, :, None] + codes[:, None]).flatten(), minlength=size**2)
    sums = table.flatten(0, 1).double() * _RIDGE
    for stage in codes.T:
        sums.index_add_(0, stage, rows.double())
    normal = pairs.reshape(size, size).double() + _RIDGE * torch.eye(size, dtype=torch.float64)
    solved: Tensor = torch.linalg.solve(normal, sums)
    return solved.reshape(table.shape).float()


def k_means(rows: Tensor, generator: torch.Generator, rounds: int = _ROUNDS) -> Tensor:
    """Return 256 centroids of rows ``(N, width)`` by Lloyd's rounds.

    Of many coordinates the rounds see the first eighth first, then a quarter, a half and all: they are in order of
    variance, and few coordinates have fewer poor optima. Until all are seen, so are some of the rows only.
    """
    width = rows.shape[1]
    if width <= _NARROW:
        centroids, seen = _spread(rows, generator), [width]
    else:
        start = torch.randperm(len(rows), generator=generator)[:CENTROIDS]
        centroids = rows[start[torch.arange(CENTROIDS) % len(start)]]
        seen = sorted({max(1, width // part) for part in (8, 4, 2, 1)})
    few = rows[torch.randperm(len(rows), generator=generator)[:_EARLY_ROWS]] if len(seen) > 1 else rows
    for columns in seen:
        for _ in range(rounds if columns == width else _EARLY_ROUNDS):
            centroids = _moved(centroids, rows if columns == width else few, columns)
    return centroids


def _moved(centroids: Tensor, rows: Tensor, columns: int) -> Tensor:
    """Return the means of the rows ``(N, width)`` to which each centroid is nearest in the first columns."""
    own = closest(rows[:, :columns], centroids[:, :columns])
    sizes = torch.bincount(own, minlength=CENTROIDS)[:, None]
    sums = torch.zeros_like(centroids).index_add_(0, own, rows)
    return torch.where(sizes > 0, sums / sizes.clamp_min(1), centroids)


def _spread(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return 256 of the rows ``(N, width)``, drawn by squared distance (k-means++: Arthur and Vassilvitskii 2007)."""
    columns = rows[torch.randperm(len(rows), generator=generator)[:_EARLY_ROWS]].T.contiguous()
    draws = torch.rand(CENTROIDS, generator=generator, dtype=torch.float64)
    left, chosen = torch.ones(columns.shape[1]), []
    for draw in draws:
        ends = left.cumsum(0, dtype=torch.float64)
        chosen.append(int(torch.searchsorted(ends, draw * ends[-1], right=True).clamp_max(len(ends) - 1)))
        away = (columns - columns[:, chosen[-1], None]).square_().sum(0)
        left = away if len(chosen) == 1 else torch.minimum(left, away)
    return columns[:, chosen].T.contiguous()


def closest(rows: Tensor, centroids: Tensor) -> Tensor:
    """Return the number of the centroid ``(K, width)`` nearest to each row ``(N, width)``."""
    halves = centroids.square().sum(1) / 2
    costs = (halves - inner_products(block, centroids) for block in torch.split(rows, 4096))
    return torch.cat([torch.from_numpy(cost.numpy().argmin(1)) for cost in costs])  # torch takes eight times as long


def _residuals(left: Tensor, table: Tensor) -> Tensor:
    """Return the smallest residuals ``(n, 8, width)`` of candidates ``(n, b, width)`` after one more centroid."""
    costs = table.square().sum(1) / 2 - left @ table.T + left.square().sum(2, keepdim=True) / 2
    best = costs.flatten(1).topk(_TRAINING_BEAM, 1, largest=False).indices
    parents = left.gather(1, (best // CENTROIDS)[:, :, None].expand(-1, -1, left.shape[2]))
    return parents - table[best % CENTROIDS]
