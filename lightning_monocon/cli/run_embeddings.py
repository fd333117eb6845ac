# SPDX-License-Identifier: Apache-2.0
"""Embed what a run of a comparison is judged by: rows with classes, or rows with known answers and scored pairs."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_monocon.data.corrupted import SEVERITIES, CorruptibleData
from lightning_monocon.data.judged import Judged, JudgedData
from lightning_monocon.functional.spectrum import principal_components
from lightning_monocon.heads import certify_neighbours
from lightning_monocon.heads.attack import attack_labels
from lightning_monocon.heads.base import Head
from lightning_monocon.inference.embed import embed
from lightning_monocon.scorecard.certificates import Certificates
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.frontier import measure_frontier
from lightning_monocon.scorecard.robustness import Robustness
from lightning_monocon.scorecard.truths import GradedTruth, QrelsTruth, Truth

_CERTIFIED = 100
"""Queries of which answers are proved: a proof takes as long as thousands of searches."""


def embedded(module: LightningModule, data: LightningDataModule) -> EmbeddingSet:
    """Return the module's embeddings of the test rows, with what is known of them.

    Args:
        module: A trained module.
        data: Data with classes, whose test loaders are gallery and query, or `JudgedData`.
    """
    data.setup("test")
    if isinstance(data, JudgedData) and not getattr(data, "has_classes", True):
        return _with_truths(module, data.judged())
    gallery, query = (embed(module, loader) for loader in data.test_dataloader())
    return EmbeddingSet(gallery["embeddings"], gallery["labels"], query["embeddings"], query["labels"])


def corrupted(module: LightningModule, data: CorruptibleData, clean: EmbeddingSet) -> Robustness:
    """Return what corrupted queries find with the module's embeddings, by the first thing that is known of them.

    Args:
        module: A trained module.
        data: Data that `embedded` has set up.
        clean: What `embedded` returned.
    """
    basis = principal_components(clean.gallery)

    def value(found: EmbeddingSet) -> float:
        return measure_frontier(found, [found.dim], basis).means()[0]

    def asked(name: str, severity: int) -> Tensor:
        loader = data.corrupted(name, severity)
        return _in_order(module, loader) if clean.gallery_labels is None else embed(module, loader)["embeddings"]

    lines = {
        name: [value(replace(clean, query=asked(name, severity))) for severity in SEVERITIES]
        for name in data.corruptions
    }
    return Robustness(clean.judges()[0].measures[0], value(clean), lines)


def certified(module: LightningModule, data: LightningDataModule, eps: Sequence[float]) -> Certificates | None:
    """Return what is proved of the answers to the first `_CERTIFIED` test queries; None for a model without a head.

    Args:
        module: A trained module.
        data: Data with classes that `embedded` has set up.
        eps: How far each feature moves, in units of the deviation of all features.
    """
    head = module.head
    if not isinstance(head, Head):
        return None
    rows, asked = (embed(module, loader) for loader in data.test_dataloader())
    unit = float(rows["features"].std())
    gallery, query, truth = rows["features"], asked["features"][:_CERTIFIED], asked["labels"][:_CERTIFIED]
    own = deepcopy(head).cpu()
    sizes = [size * unit for size in eps]
    found = [certify_neighbours(own, gallery, rows["labels"], query, size) for size in sizes]
    kept = [attack_labels(own, gallery, rows["labels"], query, truth, size) for size in sizes]

    right = found[0].vote == truth
    proved = tuple(float((right & each.label).double().mean()) for each in found)
    attacked = tuple(float((right & each).double().mean()) for each in kept)
    return Certificates(len(query), tuple(eps), float(right.double().mean()), proved, attacked)


def _with_truths(module: LightningModule, known: Judged) -> EmbeddingSet:
    gallery, query = (_in_order(module, loader) for loader in (known.gallery, known.query))
    sides = {name: _in_order(module, scored.loader) for name, scored in known.scored.items()}
    search = QrelsTruth(
        query=known.answers[:, 0],
        row=known.answers[:, 1],
        grade=torch.ones(len(known.answers), dtype=torch.int64),
        queries=len(query),
        rows=len(gallery),
        name=known.name,
        excluded=known.same,
    )
    truths: list[Truth] = [search]
    for name, scored in known.scored.items():
        pair = torch.arange(len(scored.scores))
        truths.append(GradedTruth(name, 2 * pair, 2 * pair + 1, scored.scores, side=name))
    return EmbeddingSet(gallery, None, query, truths=tuple(truths), sides=sides)


def _in_order(module: LightningModule, loader: DataLoader[Any]) -> Tensor:
    """Return embeddings ``(N, D)`` in the order of the numbers that come as labels."""
    rows = embed(module, loader)
    return rows["embeddings"][rows["labels"].argsort()]
