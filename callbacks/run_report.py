# SPDX-License-Identifier: Apache-2.0
"""End a run with its scorecard row and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from lightning_monocon.callbacks._watcher import OnError, Watcher, harmless
from lightning_monocon.inference.embed import GALLERY_AND_QUERY, embed, has_classes
from lightning_monocon.loggers.figures import log_figure, log_summary, log_table
from lightning_monocon.runs.files import write_text
from lightning_monocon.runs.record import RECORD, read_history
from lightning_monocon.scorecard.embeddings import EmbeddingSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENCODER, HEAD = "encoder", "head"


class RunReport(Watcher):
    """Score the final embeddings on the validation loaders: encoder's output against the head's.

    Writes ``run_dir/scorecard.json`` and ``run_dir/*.png``, and gives the figures, the table and the summary to every
    logger. It runs after the last epoch, on the last weights. A run without two validation loaders, or on data without
    classes, cannot be scored, so it has ``training.png`` alone: what it recorded by epoch. A run with ``fast_dev_run``
    has neither.

    Args:
        run_dir: The run's folder.
        on_error: ``"warn"`` leaves the run without a report after an error, ``"raise"`` lets the error end it.
    """

    def __init__(self, run_dir: str, on_error: OnError = "warn") -> None:
        super().__init__(on_error)
        self.run_dir = Path(run_dir)

    @harmless
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Embed on every rank, report on the first."""
        loaders = trainer.val_dataloaders
        if getattr(trainer, "fast_dev_run", False):
            return
        if not isinstance(loaders, list) or len(loaders) != GALLERY_AND_QUERY or not has_classes(trainer):
            self._draw_training(trainer)
            return
        gallery, query = (embed(pl_module, loader) for loader in loaders)
        if not trainer.is_global_zero:
            return
        outputs = {ENCODER: "features"}
        if not isinstance(getattr(pl_module, "head", None), nn.Identity):
            outputs[HEAD] = "embeddings"
        try:
            sets = {
                name: EmbeddingSet(gallery[key], gallery["labels"], query[key], query["labels"], arm=name)
                for name, key in outputs.items()
            }
        except ValueError as error:  # rows that cannot be scored must not fail a run that is finished
            rank_zero_warn(f"The run has no scorecard: {error}")
            return
        self._report(trainer, sets)

    def _draw_training(self, trainer: Trainer) -> None:
        """Draw what a run without a scorecard recorded by epoch, on the first rank."""
        from lightning_monocon.scorecard.render.figures import training_figure

        figure = training_figure({HEAD: [read_history(self.run_dir / RECORD)]}) if trainer.is_global_zero else None
        if figure is not None:
            self._hand_over(trainer, {"training.png": figure})

    def _hand_over(self, trainer: Trainer, figures: Mapping[str, Figure]) -> None:
        """Save figures in the run's folder and give them to every logger."""
        from lightning_monocon.scorecard.render.figures import save

        for name, figure in figures.items():
            drawn = save(figure, self.run_dir / name)
            for logger in trainer.loggers:
                log_figure(logger, name.removesuffix(".png"), figure, drawn)

    def _report(self, trainer: Trainer, sets: dict[str, EmbeddingSet]) -> None:
        from lightning_monocon.scorecard import build, draw
        from lightning_monocon.scorecard.origin import origin_of
        from lightning_monocon.scorecard.render.logged import logged_summary, logged_table
        from lightning_monocon.scorecard.render.schema import as_json

        history = read_history(self.run_dir / RECORD)
        histories = {ENCODER: [history.of_encoder()], HEAD: [history]}
        card = build({name: [data] for name, data in sets.items()}, ENCODER, histories)
        card = replace(card, origin=origin_of([self.run_dir]))
        write_text(self.run_dir / "scorecard.json", json.dumps(as_json(card), indent=1))
        for logger in trainer.loggers:
            log_summary(logger, logged_summary(card))
            log_table(logger, "scorecard/arms", *logged_table(card))
        self._hand_over(trainer, draw(card, sets.values()))
