# SPDX-License-Identifier: Apache-2.0
"""One codec of every kind, fitted on few rows, and codecs whose arithmetic is exact."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from lightning_monocon.codes import Codec, FittingRows, HalfQuantiser, LevelQuantiser, ProductQuantiser, Space
from lightning_monocon.codes.additive import AdditiveQuantiser
from lightning_monocon.codes.families import ScalarOptions, fit_product, fit_rabit, fit_scalar, fit_transform
from lightning_monocon.codes.families.centroids import fit_stages
from lightning_monocon.codes.fitting import Similarity
from lightning_monocon.codes.rabit import RabitQuantiser

KINDS: dict[str, Callable[[FittingRows], Codec]] = {
    "transform": lambda rows: fit_transform(rows, 5, scoring="centred" if rows.similarity == "cosine" else "whole"),
    "signs": lambda rows: fit_scalar(rows, 1, ScalarOptions(1, rotation="random")),
    "bytes": lambda rows: fit_scalar(rows, 12, ScalarOptions(8, centre=False)),
    "half": lambda rows: fit_scalar(rows, 24, ScalarOptions(16)),
    "groups": lambda rows: fit_product(rows, 3),
    "sums": lambda rows: fit_product(rows, 4),
    "additive": lambda rows: _additive(rows),
    "rabit1": lambda rows: fit_rabit(rows, 6, 1),
    "rabit3": lambda rows: fit_rabit(rows, 8, 3),
    "rabit8": lambda rows: fit_rabit(rows, 16, 8),
}


def _additive(rows: FittingRows) -> Codec:
    """Return sums of three centroids of all numbers; their fit needs no faiss, unlike that of LSQ."""
    space = Space(rows.statistics.mean.float(), torch.eye(rows.dim), rows.similarity)
    tables = fit_stages(rows.sample - space.mean, 3, torch.Generator().manual_seed(0))
    return Codec("additive-3", "additive", space, AdditiveQuantiser(tables, 4))


@cache
def fitted(kind: str, similarity: Similarity) -> Codec:
    """Return the codec of a kind, fitted once in a process."""
    return KINDS[kind](FittingRows.of(rows_of(600, 0), similarity))


def rows_of(count: int, seed: int, dim: int = 16) -> torch.Tensor:
    rows = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return rows * 0.85 ** torch.arange(dim) + 0.3


def dyadic_codecs() -> dict[str, Codec]:
    """Return codecs of four numbers in steps of 1/8 whose coordinates, thresholds and costs are exact in any order."""
    mean = torch.tensor([0.25, -0.5, 0.0, 0.125])
    space = Space(mean, torch.eye(4), "dot")
    levels = (torch.arange(8) / 4 - 1).repeat(4, 1)
    steps = torch.arange(256) // 2 / 8  # every centroid twice: the smaller number must win
    centroids = [torch.stack([steps, -steps]).reshape(1, 2, 256).permute(0, 2, 1).contiguous()] * 2
    sums = [torch.cat([table, table / 4]) for table in centroids]
    quantisers = {
        "levels": LevelQuantiser(torch.tensor([3, 1, 0, 2]), levels),
        "half": HalfQuantiser(4),
        "product": ProductQuantiser(torch.tensor([1.0, 0.5, 2.0, 1.0]), centroids, centroids),
        "sums": ProductQuantiser(torch.ones(4), sums, sums, 3),
        "additive": AdditiveQuantiser(torch.cat([torch.cat(centroids, 2), torch.cat(sums, 2)[1:]]), 2),
        "rabit1": RabitQuantiser(4, 1),
        "rabit4": RabitQuantiser(4, 4),
    }
    return {name: Codec(name, "planted", space, quantiser) for name, quantiser in quantisers.items()}


def dyadic_rows() -> torch.Tensor:
    """Return rows ``(4000, 4)`` in steps of 1/16, zeros, and numbers at and beyond the ends of float16."""
    rows = torch.randint(-40, 41, (4000, 4), generator=torch.Generator().manual_seed(0)) / 16
    ends = torch.tensor([0.0, 65504.0, 65520.0, 1e30, 2.0**-14, 2.0**-24, 2.0**-25, 3 * 2.0**-26, -(2.0**-60)])
    rows[:9] = torch.stack([ends, -ends, ends, ends], 1)
    rows[9] = torch.tensor([0.25, -0.5, -0.0, 0.125])  # the mean
    return rows
