# SPDX-License-Identifier: Apache-2.0
"""Embed what a run of a comparison is judged by: rows with classes, or rows with known answers and scored pairs."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_monocon.data.judged import Judged, JudgedData
from lightning_monocon.inference.embed import embed
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.truths import GradedTruth, QrelsTruth, Truth


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
