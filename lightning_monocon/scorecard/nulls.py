# SPDX-License-Identifier: Apache-2.0
"""Null models: embeddings that are known to be no better than the baseline, made from the baseline itself.

Each beats it on one of the headline figures, so each stands in every report with its verdict. A word of praise that one
of them gets means nothing for these rows, and is withdrawn from every arm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_monocon.functional.red_flags import COMPACT_RATIO
from lightning_monocon.functional.spectrum import principal_components
from lightning_monocon.functional.truncation_curve import projected
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.scores import VARIANCE
from lightning_monocon.scorecard.truths.labels import NEIGHBOURS

CONE_OFFSET = 10.0
"""Length of the constant that is added to unit rows: mean cosine about 0.99, RMSE about ten times lower."""

SUBSAMPLE = 0.2
"""Share of the gallery's rows that the subsample keeps."""

_TILE = 4096  # rows that are changed at a time


def untrained_head(data: EmbeddingSet) -> EmbeddingSet:
    """Send the embeddings through a monotonic head as it is initialised: n99 near 1, nothing learnt."""
    from lightning_monocon.heads import MonotonicMLP

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(data.seed)
        head = MonotonicMLP(data.dim, init="reference", backend="torch").to(data.gallery.dtype)
    with torch.no_grad():
        gallery, query, *others = (
            torch.cat([head(part) for part in torch.split(rows, _TILE)]) for rows in _all_rows(data)
        )
    sides = dict(zip(data.sides, others, strict=True))
    return replace(data, gallery=gallery, query=query, sides=sides, arm="untrained head")


def shifted_cone(data: EmbeddingSet) -> EmbeddingSet:
    """Add one constant direction to every unit row: a lower reconstruction error, the same information."""
    direction = torch.randn(data.dim, generator=torch.Generator().manual_seed(data.seed), dtype=torch.float64)
    offset = CONE_OFFSET * normalize(direction, dim=0)
    gallery, query, *others = (
        torch.cat([(unit_rows(part.double()) + offset).to(rows.dtype) for part in torch.split(rows, _TILE)])
        for rows in _all_rows(data)
    )
    sides = dict(zip(data.sides, others, strict=True))
    return replace(data, gallery=gallery, query=query, sides=sides, arm="constant-shift cone")


def _all_rows(data: EmbeddingSet) -> tuple[Tensor, ...]:
    return data.gallery, data.query, *data.sides.values()


def subsample(data: EmbeddingSet) -> EmbeddingSet | None:
    """Keep a fifth of the gallery, some of each class: a lower n99, from fewer rows."""
    return _of_rows(data, _fifth(data), "subsample")


def repeated_rows(data: EmbeddingSet) -> EmbeddingSet | None:
    """Fill the gallery with a fifth of its rows, repeated: as many rows, the lower n99 of a subsample."""
    kept = _fifth(data)
    return _of_rows(data, kept[torch.arange(len(data.gallery)) % len(kept)], "repeated rows")


def pca_cut(data: EmbeddingSet) -> EmbeddingSet:
    """Keep the principal components that just count as fewer: compact without training, as every PCA is."""
    axes = principal_components(data.gallery)
    shares = axes.variances.cumsum(0) / axes.variances.sum()
    k = max(1, int(COMPACT_RATIO * int((shares < VARIANCE).sum() + 1)))
    gallery, query, *others = (projected(rows, axes, k).to(rows.dtype) for rows in _all_rows(data))
    sides = dict(zip(data.sides, others, strict=True))
    return replace(data, gallery=gallery, query=query, sides=sides, arm="PCA cut")


def _of_rows(data: EmbeddingSet, rows: Tensor, arm: str) -> EmbeddingSet | None:
    """Return a gallery of the given rows with the truths that say something of it; None if none does."""
    known = tuple(moved for truth in data.truths if (moved := truth.onto(rows)) is not None)
    if not known and data.gallery_labels is None:
        return None
    labels = None if data.gallery_labels is None else data.gallery_labels[rows]
    return replace(data, gallery=data.gallery[rows], gallery_labels=labels, truths=known, arm=arm)


def _fifth(data: EmbeddingSet) -> Tensor:
    """Row numbers of a fifth of the gallery, ascending, with all answers that a truth names if they are that few."""
    generator = torch.Generator().manual_seed(data.seed)
    order = torch.randperm(len(data.gallery), generator=generator)
    if data.gallery_labels is not None:
        # Round-robin over the classes, so that none is lost however few rows are kept.
        labels = data.gallery_labels[order]
        turn = torch.zeros_like(labels)
        for label in set(labels.tolist()):
            turn[labels == label] = torch.arange(int((labels == label).sum()))
        order = order[torch.argsort(turn, stable=True)]
    count = max(NEIGHBOURS, round(SUBSAMPLE * len(order)), 2)
    for truth in data.truths:
        if len(truth.answers) <= count:
            named = torch.isin(order, truth.answers)
            order = torch.cat([order[named], order[~named]])
    return order[:count].sort().values


NULL_MODELS: Mapping[str, Callable[[EmbeddingSet], EmbeddingSet | None]] = {
    "untrained head": untrained_head,
    "constant-shift cone": shifted_cone,
    "subsample": subsample,
    "repeated rows": repeated_rows,
    "PCA cut": pca_cut,
}
"""Makers of null models by name; None where a truth leaves no room for one, as where every row is an answer."""
