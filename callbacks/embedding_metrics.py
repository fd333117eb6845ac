# SPDX-License-Identifier: Apache-2.0
"""Compactness, robustness and retrieval of a model's embeddings, at validation and test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from lightning_monocon.embedding import GALLERY_AND_QUERY, has_classes
from lightning_monocon.metrics import (
    EffectiveDimension,
    FeatureCorrelation,
    MeanCosine,
    NeighbourScores,
    ReconstructionError,
    TotalVariance,
)
from lightning_monocon.watching.harmless import OnError, Watcher, harmless

_SPECTRAL = ("effective_dimension", "feature_correlation", "total_variance", "mean_cosine", "rmse", "fvu")
_LABELLED = ("knn_accuracy", "recall@1", "recall@5")


class EmbeddingMetrics(Watcher):
    """Log the metrics of the head's output as ``<stage>/<metric>`` and the encoder's as ``<stage>/encoder/<metric>``.

    Works with any LightningModule whose `validation_step` and `test_step` return a mapping with the keys
    ``embeddings`` ``(B, D)``, ``labels`` ``(B,)`` and, for the encoder's output, ``features``; the first of the two
    loaders is the gallery, the second the query. Effective dimension, correlation, variance and cosine are the
    gallery's; reconstruction error, k-NN accuracy and recall are the query's against the gallery. A data module that
    says ``has_classes = False`` (single sentences, say) gets no k-NN accuracy and no recall: where each row is its own
    class they would be 0 whatever the embedding.

    Args:
        variance: Share of the variance that the effective dimension keeps.
        k: Neighbours that vote on the label.
        on_error: ``"warn"`` goes on without the metrics after an error and logs NaN, so that whoever monitors one
            finds it and never takes it for the best; ``"raise"`` lets the error end the run.

    Raises:
        ValueError: With ``on_error="raise"``, if there are not two loaders, or an output lacks a key.
    """

    def __init__(self, variance: float = 0.99, k: int = 5, on_error: OnError = "warn") -> None:
        super().__init__(on_error)
        self.variance, self.k = variance, k
        self._collections: dict[str, MetricCollection] = {}

    @harmless
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start afresh."""
        self._start(trainer.num_val_batches, pl_module, has_classes(trainer))

    @harmless
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start afresh."""
        self._start(trainer.num_test_batches, pl_module, has_classes(trainer))

    @harmless
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

    @harmless
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

    def _start(self, batches: list[int | float], pl_module: LightningModule, classes: bool) -> None:
        if len(batches) != GALLERY_AND_QUERY:
            raise ValueError(
                f"`dataloaders` must be two, the gallery and the query, got {len(batches)}. Return "
                "[gallery_loader, query_loader] from `val_dataloader` and `test_dataloader`."
            )
        if not self._collections:
            same = isinstance(getattr(pl_module, "head", None), nn.Identity)  # the same vectors twice
            outputs = ["embeddings"] if same else ["embeddings", "features"]
            self._collections = {output: self._collection(classes) for output in outputs}
        for collection in self._collections.values():
            collection.to(pl_module.device)
            collection.reset()

    def _collection(self, classes: bool) -> MetricCollection:
        # shared states: one Gram matrix for all spectral metrics, one search for accuracy and recall
        neighbours: dict[str, Metric] = {"neighbours": NeighbourScores(self.k, (1, 5))} if classes else {}
        return MetricCollection(
            {
                "effective_dimension": EffectiveDimension(self.variance, small_sample="ignore"),
                "feature_correlation": FeatureCorrelation(small_sample="ignore"),
                "total_variance": TotalVariance(),
                "mean_cosine": MeanCosine(),
                "reconstruction_error": ReconstructionError(self.variance, small_sample="ignore"),
                **neighbours,
            }
        )

    def _update(self, outputs: Any, dataloader_idx: int) -> None:  # noqa: ANN401  # whatever the user's step returns
        labels, role = _take(outputs, "labels"), "query" if dataloader_idx else "gallery"
        for output, collection in self._collections.items():
            collection.update(embeddings=_take(outputs, output).detach(), labels=labels, role=role)

    def _log(self, stage: str, pl_module: LightningModule) -> None:
        if self.agrees(pl_module.trainer):
            self._log_metrics(stage, pl_module)
        if self.error is not None:
            names = (f"{stage}/{name}" for name in (*_SPECTRAL, *_LABELLED))
            pl_module.log_dict(dict.fromkeys(names, math.nan), sync_dist=True)

    @harmless
    def _log_metrics(self, stage: str, pl_module: LightningModule) -> None:
        for output, collection in self._collections.items():
            prefix = f"{stage}/encoder/" if output == "features" else f"{stage}/"
            values = {f"{prefix}{name}": value for name, value in collection.compute().items() if name != "dimension"}
            # the metrics have reduced over the ranks themselves: sync_dist averages equal values
            pl_module.log_dict(values, sync_dist=True)


def _take(outputs: Any, name: str) -> Tensor:  # noqa: ANN401  # whatever the user's step returns
    if not isinstance(outputs, Mapping) or name not in outputs:
        found = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise ValueError(f"The step must return a mapping with the key {name!r}, got {found}.")
    value: Tensor = outputs[name]
    return value
