# SPDX-License-Identifier: Apache-2.0
"""Compactness, robustness and retrieval of a model's embeddings, at validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics import MetricCollection

from lightning_monocon.metrics import (
    EffectiveDimension,
    FeatureCorrelation,
    KNNAccuracy,
    MeanCosine,
    RecallAtK,
    ReconstructionError,
    TotalVariance,
)

GALLERY = 0


class EmbeddingMetrics(Callback):
    """Log the metrics of the head's output as ``<stage>/<metric>`` and the encoder's as ``<stage>/encoder/<metric>``.

    Works with any LightningModule whose `validation_step` and `test_step` return a mapping with the keys
    ``embeddings`` ``(B, D)``, ``labels`` ``(B,)`` and, for the encoder's output, ``features``; the first of the two
    loaders is the gallery, the second the query. Effective dimension, correlation, variance and cosine are the
    gallery's; reconstruction error, k-NN accuracy and recall are the query's against the gallery.

    Args:
        variance: Share of the variance that the effective dimension keeps.
        k: Neighbours that vote on the label.

    Raises:
        ValueError: If there are not two loaders, or an output lacks a key.
    """

    def __init__(self, variance: float = 0.99, k: int = 5) -> None:
        self.variance, self.k = variance, k
        self._sources: dict[str, _Source] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start afresh."""
        self._start(trainer.num_val_batches, pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start afresh."""
        self._start(trainer.num_test_batches, pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Any,  # noqa: ANN401  # Lightning's signature
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take one batch."""
        self._update(outputs, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Any,  # noqa: ANN401  # Lightning's signature
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take one batch."""
        self._update(outputs, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, unless this is the sanity check, whose few batches say nothing."""
        if not trainer.sanity_checking:
            self._log("val", pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log."""
        self._log("test", pl_module)

    def _start(self, batches: list[int | float], pl_module: LightningModule) -> None:
        if len(batches) != 2:
            raise ValueError(
                f"`dataloaders` must be two, the gallery and the query, got {len(batches)}. Return "
                "[gallery_loader, query_loader] from `val_dataloader` and `test_dataloader`."
            )
        if not self._sources:
            same = isinstance(getattr(pl_module, "head", None), nn.Identity)  # the same vectors twice
            outputs = {"": "embeddings"} if same else {"": "embeddings", "encoder/": "features"}
            self._sources = {prefix: _Source(output, self.variance, self.k) for prefix, output in outputs.items()}
        for source in self._sources.values():
            for collection in (source.spectral, source.paired):
                collection.to(pl_module.device)
                collection.reset()

    def _update(self, outputs: Any, dataloader_idx: int) -> None:  # noqa: ANN401  # whatever the user's step returns
        for source in self._sources.values():
            source.update(outputs, dataloader_idx)

    def _log(self, stage: str, pl_module: LightningModule) -> None:
        for prefix, source in self._sources.items():
            values = {f"{stage}/{prefix}{name}": value for name, value in source.compute().items()}
            # the metrics have reduced over the ranks themselves: sync_dist averages equal values
            pl_module.log_dict(values, sync_dist=True)


class _Source:
    """The metrics of one output: those of the gallery alone, and those of the query against the gallery."""

    def __init__(self, output: str, variance: float, k: int) -> None:
        self.output = output
        self.spectral = MetricCollection(
            {
                "effective_dimension": EffectiveDimension(variance),
                "feature_correlation": FeatureCorrelation(),
                "total_variance": TotalVariance(),
                "mean_cosine": MeanCosine(),
            }
        )
        self.paired = MetricCollection(
            {
                "reconstruction_error": ReconstructionError(variance),
                "knn_accuracy": KNNAccuracy(k),
                "recall": RecallAtK((1, 5)),
            }
        )

    def update(self, outputs: Any, dataloader_idx: int) -> None:  # noqa: ANN401  # whatever the user's step returns
        embeddings, labels = _take(outputs, self.output).detach(), _take(outputs, "labels")
        role = "gallery" if dataloader_idx == GALLERY else "query"
        if role == "gallery":
            self.spectral.update(embeddings)
        self.paired.update(embeddings=embeddings, labels=labels, role=role)

    def compute(self) -> dict[str, Tensor]:
        return {**self.spectral.compute(), **self.paired.compute()}


def _take(outputs: Any, name: str) -> Tensor:  # noqa: ANN401  # whatever the user's step returns
    if not isinstance(outputs, Mapping) or name not in outputs:
        found = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise ValueError(f"The step must return a mapping with the key {name!r}, got {found}.")
    value: Tensor = outputs[name]
    return value
