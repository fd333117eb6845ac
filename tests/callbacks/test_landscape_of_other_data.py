# SPDX-License-Identifier: Apache-2.0
"""The landscape callback on classifiers whose data are streams, or whose batches have names of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:You defined a `validation_step`", "ignore:.*LeafSpec.*:FutureWarning"
)


def _item(generator: torch.Generator) -> dict[str, Any]:
    """A point near one of three corners, which is its species, with a label that is not asked for."""
    species = int(torch.randint(3, (), generator=generator))
    point = torch.randn(4, generator=generator) + 4 * torch.eye(4)[species]
    return {"points": point, "species": species, "label": 0}


class Points(IterableDataset[Any]):
    """Fresh points without end."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield _item(self.generator)


class Species(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 3)
        self.seen: list[float] = []

    def forward(self, batch: Any) -> Tensor:
        scores: Tensor = self.out(batch["points"])
        return scores

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self(batch), batch["species"])
        self.seen.append(loss.item())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.1)


def _fit(folder: Path, *callbacks: L.Callback) -> Species:
    L.seed_everything(0, verbose=False)
    model = Species()
    train, val = (DataLoader(Points(seed), batch_size=16) for seed in (1, 2))
    trainer = L.Trainer(
        accelerator="cpu", default_root_dir=folder, max_steps=60, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=1, val_check_interval=30,
        callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(model, train, val)
    return model


def test_a_classifier_on_a_stream_with_named_labels_is_watched_and_learns_the_same(tmp_path: Path) -> None:
    callback = SemanticLandscape(96, "logits", 1, budget=None, labels="species", on_error="raise")
    watched, alone = _fit(tmp_path / "a", callback), _fit(tmp_path / "b")
    assert watched.seen == alone.seen, "the run reads what it would have read"
    assert callback.tracker is not None
    assert callback.tracker.chance == pytest.approx(1 / 3)
    assert callback.tracker.trajectory.steps == list(range(61))
    # the truth: the last network on fresh points of the streams
    generator = torch.Generator().manual_seed(3)
    fresh = [_item(generator) for _ in range(2000)]
    with torch.no_grad():
        right = watched({"points": torch.stack([item["points"] for item in fresh])}).softmax(1)
    expected = right.gather(1, torch.tensor([[item["species"]] for item in fresh])).mean()
    for name in ("credence/train", "credence/val"):
        assert callback.tracker.trajectory.column(name)[-1] == pytest.approx(float(expected), abs=0.05)


def test_without_their_name_a_warning_says_what_to_pass(tmp_path: Path) -> None:
    class Unnamed(Points):
        def __iter__(self) -> Iterator[Any]:
            for item in super().__iter__():
                yield {name: part for name, part in item.items() if name != "label"}

    callback = SemanticLandscape(96, "logits", 1)
    trainer = L.Trainer(
        accelerator="cpu", default_root_dir=tmp_path, max_steps=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=1, callbacks=[callback],
    )  # fmt: skip
    with pytest.warns(UserWarning, match="continues: ValueError: `labels` must name the entry .* dict with points, sp"):
        trainer.fit(Species(), DataLoader(Unnamed(1), batch_size=16), DataLoader(Unnamed(2), batch_size=16))
