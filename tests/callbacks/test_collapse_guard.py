# SPDX-License-Identifier: Apache-2.0
"""The guard fires once on the untrained reference head and stays silent on a healthy run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon.callbacks.collapse_guard import CollapseGuard, CollapseWarning
from lightning_monocon.heads import MonotonicMLP
from lightning_monocon.losses import SupConLoss

pytestmark = [
    pytest.mark.filterwarnings("ignore:`isinstance.treespec:FutureWarning"),  # Lightning's loader, with torch 2.13
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
]


class Learner(LightningModule):
    def __init__(self, head: nn.Module, rate: float) -> None:
        super().__init__()
        self.head, self.rate, self.loss = head, rate, SupConLoss(0.1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.loss(self.head(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        return {"embeddings": self.head(batch[0]), "labels": batch[1]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.rate)


def run(
    head: nn.Module, folder: Path, guard: CollapseGuard, *, rate: float = 0.0, epochs: int = 1, loaders: int = 2
) -> Trainer:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (600,), generator=generator)
    rows = torch.randn(6, 16, generator=generator)[labels] + 0.4 * torch.randn(600, 16, generator=generator)
    data = DataLoader(TensorDataset(rows, labels), batch_size=200)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[guard],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        log_every_n_steps=1,
    )
    trainer.fit(Learner(head, rate), data, [data] * loaders if loaders > 1 else data)
    return trainer


def reference_head() -> nn.Module:
    torch.manual_seed(0)
    return MonotonicMLP(16, init="reference")


def test_it_fires_once_on_the_untrained_reference_head(tmp_path: Path) -> None:
    guard = CollapseGuard()
    with pytest.warns(CollapseWarning) as caught:
        trainer = run(reference_head(), tmp_path, guard, epochs=3)
    text = [str(warning.message) for warning in caught if warning.category is CollapseWarning]
    assert len(text) == 1
    assert text[0].startswith("`embeddings` at epoch 0: All rows point one way (mean cosine 0.99")
    assert "effective_dimension 4, mean_cosine 0.99" in text[0]
    assert "fvu" in text[0]
    logged = trainer.callback_metrics
    assert logged["collapse_guard/mean_cosine"] > 0.99
    assert guard.state_dict() == {"warned": True}


def test_a_healthy_run_is_silent(tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.01), nn.Linear(32, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapseWarning)
        trainer = run(head, tmp_path, CollapseGuard(), rate=3e-3, epochs=8)
    assert trainer.callback_metrics["collapse_guard/effective_dimension"] < 16
    assert {name for name in trainer.callback_metrics if name.startswith("collapse_guard/")} == {
        "collapse_guard/effective_dimension",
        "collapse_guard/fvu",
        "collapse_guard/mean_cosine",
        "collapse_guard/total_variance",
    }


def test_it_waits_for_its_epoch_and_does_without_a_query(tmp_path: Path) -> None:
    guard = CollapseGuard(after_epoch=1)
    with pytest.warns(CollapseWarning, match="`embeddings` at epoch 1") as caught:
        trainer = run(reference_head(), tmp_path, guard, epochs=2, loaders=1)
    assert sum(warning.category is CollapseWarning for warning in caught) == 1
    assert "collapse_guard/fvu" not in trainer.callback_metrics


def test_equal_rows_are_a_collapse(tmp_path: Path) -> None:
    head = nn.Linear(16, 16)
    nn.init.zeros_(head.weight)
    with pytest.warns() as caught:
        run(head, tmp_path, CollapseGuard())
    text = [str(warning.message) for warning in caught if warning.category is CollapseWarning]
    assert len(text) == 1
    assert "effective_dimension is undefined" in text[0]


def test_two_guards_keep_their_own_state() -> None:
    first, second = CollapseGuard(), CollapseGuard("features")
    assert first.state_key != second.state_key
    second.load_state_dict({"warned": True})
    assert second.warned
    assert not first.warned


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="`after_epoch` must be an epoch counted from 0; got -1"):
        CollapseGuard(after_epoch=-1)
    outputs: Any = {"labels": torch.ones(2)}
    with pytest.raises(ValueError, match="must return a mapping with the key 'embeddings'; got dict with labels"):
        CollapseGuard(on_error="raise").on_validation_batch_end(None, None, outputs, None, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must return a mapping with the key 'embeddings'; got NoneType"):
        CollapseGuard(on_error="raise").on_validation_batch_end(None, None, None, None, 0)  # type: ignore[arg-type]
