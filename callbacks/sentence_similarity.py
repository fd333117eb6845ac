# SPDX-License-Identifier: Apache-2.0
"""Compare the cosine similarity of embeddings with human scores of sentence pairs, as on STS-B."""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_monocon.callbacks._watcher import Watcher, harmless
from lightning_monocon.functional.spearman import spearman
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.inference.embed import embed

Stage = Literal["val", "test"]


@runtime_checkable
class ScoredPairs(Protocol):
    """Describe a data module with scored pairs of sentences."""

    def similarity_dataloader(self, stage: Stage) -> DataLoader[Any] | None:
        """Return batches ``(inputs, labels)`` in any order: the sentences of pair ``i`` have labels 2 i and 2 i + 1."""

    def similarity_scores(self, stage: Stage) -> NDArray[np.float64]:
        """Return the scores ``(pairs,)``, in the order of the pairs."""


class SentenceSimilarity(Watcher):
    """Log Spearman's correlation of cosine similarity and score as ``val/spearman`` and ``test/spearman``.

    If the module has a head, that of the encoder's output is logged as ``<stage>/encoder/spearman``. The pairs are
    embedded at the end of validation and test by the module's `validation_step`, each rank its share, and judged
    together on every rank: the figure does not depend on the number of ranks or the size of batches. Put the name of
    the metric into ``monitor`` of `EarlyStopping` (with ``check_on_train_epoch_end: false``) or `ModelCheckpoint`. The
    data module must have scored pairs, as `lightning_monocon.data.SentencePairs` has; a stage without a file of them
    is skipped.

    Args:
        on_error: ``"warn"`` continues without the figure after an error, and logs NaN; ``"raise"`` lets it end the run.

    Raises:
        ValueError: With ``on_error="raise"``, if the data module has no scored pairs.
    """

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge and log, except in the sanity check."""
        if not trainer.sanity_checking:
            self._log("val", trainer, pl_module, trainer.limit_val_batches)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge and log."""
        self._log("test", trainer, pl_module, trainer.limit_test_batches)

    def _log(self, stage: Stage, trainer: Trainer, pl_module: LightningModule, limit: int | float | None) -> None:
        if self.agrees(trainer):
            self._judge(stage, trainer, pl_module, limit)
        if self.error is not None:  # a monitor finds NaN, and never takes it for the best
            self.log_figures(pl_module, {f"{stage}/spearman": math.nan, f"{stage}/encoder/spearman": math.nan})

    @harmless
    def _judge(self, stage: Stage, trainer: Trainer, pl_module: LightningModule, limit: int | float | None) -> None:
        data: object = getattr(trainer, "datamodule", None)
        if not isinstance(data, ScoredPairs):
            raise ValueError(
                f"`datamodule` must have `similarity_dataloader` and `similarity_scores`, as SentencePairs has; got "
                f"{type(data).__name__}."
            )
        loader = data.similarity_dataloader(stage)
        if loader is None:
            return

        # fast_dev_run and the trainer's limits ask for fewer batches
        most = limit if isinstance(limit, int) else None
        with trainer.precision_plugin.val_step_context():
            # the labels identify sentences that several ranks share
            rows = embed(pl_module, loader, most, each_once=False)

        outputs = {"": "embeddings"}
        if "features" in rows and not isinstance(getattr(pl_module, "head", None), nn.Identity):
            outputs["encoder/"] = "features"
        scores = data.similarity_scores(stage)
        # every rank has all pairs, so the figures are equal
        figures = {
            f"{stage}/{prefix}spearman": spearman(*_paired(rows[name], rows["labels"], scores))
            for prefix, name in outputs.items()
        }
        self.log_figures(pl_module, figures)


def _paired(rows: Tensor, labels: Tensor, scores: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Return cosine and score of the pairs of which both sentences were embedded."""
    place = torch.full((2 * len(scores),), -1)
    place[labels] = torch.arange(len(labels))
    ends = place.reshape(-1, 2)
    whole = ends.min(dim=1).values >= 0
    first, second = rows.double()[ends[whole]].unbind(dim=1)
    return (unit_rows(first) * unit_rows(second)).sum(dim=1), torch.from_numpy(scores)[whole]
