# SPDX-License-Identifier: Apache-2.0
"""Watch a fine-tuning module of lightly, the real one: `pip install --no-deps lightly`, for it asks for torchvision."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_monocon.callbacks import CollapseGuard, EmbeddingMetrics, SemanticLandscape

CLASSES = 5


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_a_fine_tuning_module_is_watched(tmp_path: Path) -> None:
    classifier = pytest.importorskip("lightly.utils.benchmarking.linear_classifier", reason="lightly is not installed")
    lightning = importlib.import_module("pytorch_lightning")  # what lightly's modules are made of
    generator = torch.Generator().manual_seed(0)
    samples: list[tuple[Tensor, int, str]] = [
        (torch.randn(1, 4, 4, generator=generator), index % CLASSES, f"{index}.png") for index in range(60)
    ]
    batches = DataLoader(samples, batch_size=16)  # type: ignore[arg-type, var-annotated]
    backbone = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    module = classifier.FinetuneClassifier(backbone, 16, feature_dim=8, num_classes=CLASSES)
    watchers = [
        EmbeddingMetrics(on_error="raise", layer="model"),
        CollapseGuard(on_error="raise", layer="model", after_epoch=9),
        SemanticLandscape(12, schedule=1, layer="model", on_error="raise"),
    ]
    run = lightning.Trainer(
        accelerator="cpu",
        callbacks=watchers,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    run.fit(module, batches, batches)
    wanted = {"val/knn_accuracy", "val/recall@5", "val/fvu", "val/effective_dimension", "collapse_guard/mean_cosine"}
    assert wanted | {"val_top1"} <= set(run.callback_metrics)
    assert all(value.isfinite() for value in run.callback_metrics.values())
