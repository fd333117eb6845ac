# SPDX-License-Identifier: Apache-2.0
"""The losses in sentence-transformers' batch layout, against that library's own and the formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("sentence_transformers")

from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from lightning_monocon.sbert import CrossSupConLoss, SupConLoss
from lightning_monocon.sbert import losses as adapters

ROWS, DIM = 6, 5
Make = Callable[[int], torch.Generator]


class Model(nn.Module):
    """Embeds tokens by a linear layer, with dropout, and overwrites its input as that library's modules do."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(4, DIM).double(), nn.Dropout(dropout)
        self.rows: list[int] = []

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        self.rows.append(len(features["input_ids"]))
        features["sentence_embedding"] = self.dropout(self.layer(features["input_ids"].double()))
        return features


def columns(count: int, generator: torch.Generator) -> list[dict[str, Any]]:
    return [{"input_ids": torch.randint(0, 9, (ROWS, 4), generator=generator)} for _ in range(count)]


def embedded(count: int, generator: torch.Generator) -> list[Tensor]:
    return [torch.randn(ROWS, DIM, dtype=torch.float64, generator=generator) for _ in range(count)]


def oracle(rows: Tensor, others: Tensor, positive: np.ndarray, left_out: np.ndarray, temperature: float) -> float:
    """Mean over anchors with a positive, one at a time."""
    first, second = (x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x in (rows, others))
    terms = []
    for i, logits in enumerate(first @ second.T / temperature):
        if positive[i].any():
            total = np.log(np.exp(logits[~left_out[i]]).sum())
            terms.append(-np.mean([logits[j] - total for j in np.flatnonzero(positive[i])]))
    return float(np.mean(terms))


@pytest.mark.parametrize("count", [2, 3, 5], ids=lambda n: f"columns={n}")
def test_pairs_and_negatives_are_theirs(count: int, generator: Make) -> None:
    embeddings = embedded(count, generator(count))
    ours = CrossSupConLoss(Model(), 0.05).compute_loss_from_embeddings(embeddings, None)
    theirs = MultipleNegativesRankingLoss(Model(), scale=20).compute_loss_from_embeddings(embeddings, None)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("count", "labelled"), [(1, True), (2, True), (4, True), (2, False), (4, False)])
def test_columns_are_one_set(count: int, labelled: bool, generator: Make) -> None:
    embeddings = embedded(count, generator(count))
    labels = torch.tensor([3, -1, 3, 7, -1, 3]) if labelled else None
    names = np.tile(np.arange(ROWS) if labels is None else labels.numpy(), count).astype(float)
    names[2 * ROWS :] = np.nan  # a negative is nobody's positive
    same = np.eye(count * ROWS, dtype=bool)
    expected = oracle(
        torch.cat(embeddings), torch.cat(embeddings), (names[:, None] == names) & ~same, left_out=same, temperature=0.1
    )
    found = SupConLoss(Model()).compute_loss_from_embeddings(embeddings, labels)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_rows_of_a_label_are_positives_of_one_another(generator: Make) -> None:
    first, *others = embedded(3, generator(0))
    labels = torch.tensor([5, 5, 0, 1, 0, 2])
    positive = np.hstack([labels[:, None] == labels, np.zeros((ROWS, ROWS), bool)])
    expected = oracle(first, torch.cat(others), positive, np.zeros_like(positive), 0.2)
    found = CrossSupConLoss(Model(), 0.2).compute_loss_from_embeddings([first, *others], labels)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", [SupConLoss, CrossSupConLoss])
def test_mini_batches_change_memory_only(kind: type[Any], generator: Make) -> None:
    torch.manual_seed(0)
    model, batch, labels = Model(), columns(3, generator(1)), torch.tensor([0, 0, 1, 2, 3, 3])
    found = []
    for size in (None, 4):
        model.rows.clear()
        model.zero_grad()
        loss = kind(model, mini_batch_size=size)([dict(features) for features in batch], labels)
        (3 * loss).backward()  # as a scaler does
        found.append((loss.detach(), model.layer.weight.grad))
        assert max(model.rows) == (size or ROWS)
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("count", [2, 3], ids=lambda n: f"columns={n}")
def test_rows_of_two_ranks_are_no_positives(count: int, monkeypatch: pytest.MonkeyPatch, generator: Make) -> None:
    seen: list[int] = []
    for rank in range(2):
        monkeypatch.setattr(adapters, "world", lambda rank=rank: (rank, 2))
        labels = adapters._labels_of_columns(embedded(count, generator(0)), None)
        assert labels[0].equal(labels[1])
        seen += [int(label) for part in labels[1:] for label in part]
    assert len(set(seen)) == len(seen)


def test_what_is_no_batch_of_this_kind_is_refused(generator: Make) -> None:
    one, two = embedded(1, generator(0)), embedded(2, generator(0))
    with pytest.raises(ValueError, match="`labels` must be given for one column of sentences"):
        SupConLoss(Model()).compute_loss_from_embeddings(one, None)
    with pytest.raises(ValueError, match="`sentence_features` must have two columns at least"):
        CrossSupConLoss(Model()).compute_loss_from_embeddings(one, torch.arange(ROWS))
    with pytest.raises(TypeError, match=r"`labels` must be integers, the classes of the rows; got torch\.float32"):
        CrossSupConLoss(Model()).compute_loss_from_embeddings(two, torch.rand(ROWS))
    with pytest.raises(ValueError, match=r"`labels` must hold one integer a row, 6; got shape \(5,\)"):
        CrossSupConLoss(Model()).compute_loss_from_embeddings(two, torch.arange(5))
    with pytest.raises(ValueError, match="`mini_batch_size` must be a positive integer, or None; got 0"):
        SupConLoss(Model(), mini_batch_size=0)
