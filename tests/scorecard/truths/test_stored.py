# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet
from lightning_monocon.scorecard.truths import GradedTruth, LabelTruth, NeighbourTruth, QrelsTruth, Truth


def truths() -> tuple[Truth, ...]:
    one = torch.arange(6)
    return (
        QrelsTruth(one, one, one + 1, queries=6, rows=8, name="own", excluded=torch.tensor([[0, 1]])),
        GradedTruth("pairs", one, one + 1, one.double(), side="more"),
        NeighbourTruth(torch.arange(12).view(6, 2) % 8, 8, "full", warnings=("a", "b")),
        LabelTruth(torch.arange(8) % 2, one % 3, "second"),
    )


def test_truths_and_sides_travel_with_the_file(tmp_path: Path) -> None:
    rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    data = EmbeddingSet(rows, None, rows[:6], truths=truths(), sides={"more": rows[1:]})
    again = EmbeddingSet.load(data.save(tmp_path / "e.safetensors"))
    assert again.gallery_labels is None and [*again.sides] == ["more"]
    torch.testing.assert_close(again.sides["more"], rows[1:], rtol=0, atol=0)
    assert [truth.key for truth in again.truths] == [truth.key for truth in truths()]
    for found, expected in zip(again.truths, truths(), strict=True):
        for field in fields(expected):  # type: ignore[arg-type]
            ours, theirs = getattr(found, field.name), getattr(expected, field.name)
            assert torch.equal(ours, theirs) if isinstance(theirs, Tensor) else ours == theirs
