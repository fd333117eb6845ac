# SPDX-License-Identifier: Apache-2.0
"""Log the scorecard's figures inside the trainer of sentence-transformers."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import SentenceEvaluator
from torch import Tensor

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.scorecard.byte_ranking import best_form
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.scoring import JudgedScore, score_set

_logger = logging.getLogger(__name__)

_LOWER_IS_BETTER = ("n99", "rmse", "fvu")
_FIGURES = (*_LOWER_IS_BETTER, "rank", "total_variance", "mean_cosine", "knn_accuracy")


class ScorecardEvaluator(SentenceEvaluator):
    """Score the embeddings of labelled sentences, as `lightning_monocon.scorecard.score` does.

    It returns n99, RMSE, FVU, rank, total variance, mean cosine, 5-NN accuracy and Recall@1 at full width, 5-NN
    accuracy in the n99 dimensions (``knn_accuracy@n99``) and within some bytes per vector (``knn_accuracy@16_bytes``:
    float32, int8 or bits, whichever serves best). The trainer logs them as ``eval_<name>_<figure>``; any of them can
    be its ``metric_for_best_model``. The file ``scorecard_<name>_results.csv`` has them too, and the verdict in words.

    Args:
        gallery: N sentences that are searched; they fit every basis.
        query: Q sentences that search, none of them in the gallery.
        gallery_labels: ``(N,)`` integers, the classes of the gallery.
        query_labels: ``(Q,)`` integers.
        baseline: The model that the trained one is compared with, usually the encoder as it was. It is used here in the
            constructor and not kept. Whether an embedding is compact is a comparison: without a baseline the verdict
            can only be that it collapsed.
        budgets: Bytes per vector.
        primary: The figure that stands for all.
        name: Of the data, a prefix of the figures.
        batch_size: Sentences that are embedded at a time.

    Attributes:
        latest: The latest score, with spectrum, frontier and verdict; None before the first.

    Raises:
        ValueError: If there are not as many labels as sentences, a budget is below 1, ``primary`` is not a figure, or
            the scorecard refuses the labels or the embeddings.
    """

    def __init__(
        self,
        gallery: Sequence[str],
        query: Sequence[str],
        *,
        gallery_labels: Sequence[int],
        query_labels: Sequence[int],
        baseline: SentenceTransformer | None = None,
        budgets: Sequence[int] = (4, 8, 16, 32),
        primary: str = "knn_accuracy",
        name: str = "",
        batch_size: int = 32,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # theirs
        if any(budget < 1 for budget in budgets):
            raise ValueError(f"`budgets` must be numbers of bytes from 1 on; got {list(budgets)}.")
        self.texts = (list(gallery), list(query))
        self.labels = (torch.as_tensor(gallery_labels), torch.as_tensor(query_labels))
        self.budgets = tuple(budgets)
        names = (*_FIGURES, "recall@1", "knn_accuracy@n99", *(f"knn_accuracy@{b}_bytes" for b in self.budgets))
        check_choice("primary", primary, names)
        self.figures, self.name, self.batch_size = names, name, batch_size
        self.primary_metric = f"{name}_{primary}" if name else primary
        self.greater_is_better = primary not in _LOWER_IS_BETTER
        self.csv_file = "scorecard" + (f"_{name}" if name else "") + "_results.csv"
        self.baseline = None if baseline is None else self._embed(baseline, "baseline")
        self.latest: JudgedScore | None = None

    def __call__(  # type: ignore[override]  # theirs take this model too, and no other of that library
        self, model: SentenceTransformer, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Embed, score, and return the figures.

        Args:
            model: The model to judge.
            output_path: Folder of the file, to which a line is added; None writes none.
            epoch: For the file.
            steps: For the file.
        """
        self.latest = score_set(self._embed(model, "embeddings"), self.baseline)
        verdict = self.latest.verdict
        values = dict(zip(self.figures, self._values(self.latest), strict=True))
        _logger.info("%s after %s steps: %s (%s)", self.csv_file, steps, verdict.word, verdict.reason)
        if output_path is not None:
            line = {"epoch": epoch, "steps": steps, **values, "verdict": verdict.word, "reason": verdict.reason}
            _add_line(Path(output_path) / self.csv_file, line)
        metrics: dict[str, float] = self.prefix_name_to_metrics(values, self.name)
        self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
        return metrics

    def get_config_dict(self) -> dict[str, object]:
        """Return what distinguishes this evaluator, for the model card."""
        return {"gallery": len(self.texts[0]), "query": len(self.texts[1]), "budgets": list(self.budgets)}

    def _embed(self, model: SentenceTransformer, arm: str) -> EmbeddingSet:
        gallery, query = (self._encode(model, texts) for texts in self.texts)
        return EmbeddingSet(gallery, self.labels[0], query, self.labels[1], arm=arm)

    def _encode(self, model: SentenceTransformer, texts: list[str]) -> Tensor:
        rows: NDArray[np.float32] = model.encode(texts, batch_size=self.batch_size, show_progress_bar=False)
        return torch.from_numpy(rows)

    def _values(self, found: JudgedScore) -> list[float]:
        """Return the figures in the order of their names; NaN where nothing fits a budget, or all rows are equal."""
        forms = [best_form([found], budget) for budget in self.budgets]
        return [
            *(float(getattr(found, name)) for name in _FIGURES),
            found.recall_at_1,
            found.knn_accuracy_at(found.n99) if found.n99 else float("nan"),
            *(float("nan") if form is None else form.accuracy for form in forms),
        ]


def _add_line(path: Path, line: dict[str, object]) -> None:
    """Add a line to a CSV file; the first has the names above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(line))
        if new:
            writer.writeheader()
        writer.writerow(line)
