# SPDX-License-Identifier: Apache-2.0
"""Log the scorecard's figures inside the trainer of sentence-transformers."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import SentenceEvaluator
from torch import Tensor

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.runs.files import write_text
from lightning_monocon.scorecard.byte_ranking import best_form
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.scoring import JudgedScore, score_set
from lightning_monocon.scorecard.truths import NeighbourTruth, Truth

_logger = logging.getLogger(__name__)

_LOWER_IS_BETTER = ("n99", "rmse", "fvu")
_FIGURES = (*_LOWER_IS_BETTER, "rank", "total_variance", "mean_cosine")


class ScorecardEvaluator(SentenceEvaluator):
    """Score the embeddings of sentences by what is known of them, as `lightning_monocon.scorecard` does.

    Each call returns n99, RMSE, FVU, rank, total variance and mean cosine; every measure of a truth at full width, such
    as ``knn_accuracy``, ``ndcg@10`` or ``spearman``; and of its first measure ``<measure>_in_n99``, with n99 numbers of
    each vector kept, and ``<measure>_in_16_bytes``, within as many bytes as float32, int8 or bits, whichever serves
    best. With several truths their figures start with their names. The trainer logs all as ``eval_<name>_<figure>``,
    and any can be its ``metric_for_best_model``. A CSV file has them too, with each verdict in words.

    Args:
        gallery: N sentences that are searched; they fit every basis.
        query: Q sentences that search, none of them in the gallery.
        gallery_labels: ``(N,)`` integers, the classes of the gallery; None if there are none.
        query_labels: ``(Q,)`` integers.
        truths: What else is known, such as a `QrelsTruth` or `GradedTruth` of `lightning_monocon.scorecard.truths`.
        sides: Further sentences by name, to which the pairs of a graded truth may refer.
        baseline: The model that the trained one is compared with, usually the encoder as it was. It is used here in the
            constructor and not kept. Whether an embedding is compact is a comparison: without a baseline the verdict
            can only be that it collapsed. If nothing else is known, its neighbours are the truth.
        budgets: Bytes per vector.
        primary: The figure that stands for all; by default the first measure of the first truth.
        name: Of the data, a prefix of the figures.
        batch_size: Sentences that are embedded at a time.

    Attributes:
        latest: The latest scores with spectrum, frontier and verdict, one a truth; empty before the first call.

    Raises:
        ValueError: If nothing is known and there is no baseline, a budget is below 1, ``primary`` is not a figure, two
            truths have one name, or the scorecard refuses labels, truths or the baseline's embeddings.
    """

    def __init__(
        self,
        gallery: Sequence[str],
        query: Sequence[str],
        *,
        gallery_labels: Sequence[int] | None = None,
        query_labels: Sequence[int] | None = None,
        truths: Sequence[Truth] = (),
        sides: Mapping[str, Sequence[str]] | None = None,
        baseline: SentenceTransformer | None = None,
        budgets: Sequence[int] = (4, 8, 16, 32),
        primary: str | None = None,
        name: str = "",
        batch_size: int = 32,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # theirs
        if any(budget < 1 for budget in budgets):
            raise ValueError(f"`budgets` must be numbers of bytes from 1 on; got {list(budgets)}.")
        self.texts = (list(gallery), list(query))
        self.sides = {side: list(texts) for side, texts in (sides or {}).items()}
        self.labels = [None if labels is None else torch.as_tensor(labels) for labels in (gallery_labels, query_labels)]
        self.budgets, self.name, self.batch_size = tuple(budgets), name, batch_size
        self.truths = tuple(truths)
        # vectors of nothing: labels and truths that do not fit are refused here, not after an epoch
        known = self._set(lambda texts: torch.zeros(len(texts), 1), name).judges()
        base = None if baseline is None else self._embed(baseline, "baseline")
        if not known:
            self.truths = known = (_neighbours(base),)
        self.baseline = None if base is None else replace(base, truths=self.truths)
        self.judges = known
        names = (*_FIGURES, *(figure for truth in self.judges for figure in self._names(truth)))
        primary = names[len(_FIGURES)] if primary is None else primary
        check_choice("primary", primary, names)
        self.primary_metric = f"{name}_{primary}" if name else primary
        self.greater_is_better = primary not in _LOWER_IS_BETTER
        self.csv_file = "scorecard" + (f"_{name}" if name else "") + "_results.csv"
        self.latest: tuple[JudgedScore, ...] = ()

    def __call__(  # type: ignore[override]  # theirs take this model too, and no other of that library
        self, model: SentenceTransformer, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Embed, score, and return the figures.

        Args:
            model: The model to judge.
            output_path: Folder of the file, to which a line is added; None writes none.
            epoch: For the file.
            steps: For the file.

        Raises:
            ValueError: If the file is there and has other columns, as with other budgets or truths; before any work.
        """
        path = None if output_path is None else Path(output_path) / self.csv_file
        if path is not None:
            _check_columns(path, self._columns())
        found = score_set(self._embed(model, "embeddings"), self.baseline)
        self.latest = (found, *found.others)
        values = {figure: float(getattr(self.latest[0], figure)) for figure in _FIGURES}
        words: dict[str, str] = {}
        for score in self.latest:
            values |= dict(zip(self._names(score.truth), self._values(score), strict=True))
            prefix = self._prefix(score.truth)
            words |= {f"{prefix}verdict": score.verdict.word, f"{prefix}reason": score.verdict.reason}
        _logger.info("%s after %s steps: %s", self.csv_file, steps, words)
        if path is not None:
            _add_line(path, self._columns(), {"epoch": epoch, "steps": steps, **values, **words})
        metrics: dict[str, float] = self.prefix_name_to_metrics(values, self.name)
        self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
        return metrics

    def get_config_dict(self) -> dict[str, object]:
        """Return what distinguishes this evaluator, for the model card."""
        gallery, query = map(len, self.texts)
        return {
            "gallery": gallery,
            "query": query,
            "truths": [truth.name for truth in self.judges],
            "budgets": list(self.budgets),
        }

    def _embed(self, model: SentenceTransformer, arm: str) -> EmbeddingSet:
        def rows(texts: list[str]) -> Tensor:
            found: NDArray[np.float32] = model.encode(texts, batch_size=self.batch_size, show_progress_bar=False)
            return torch.from_numpy(found)

        return self._set(rows, arm)

    def _set(self, rows: Callable[[list[str]], Tensor], arm: str) -> EmbeddingSet:
        gallery, query = (rows(texts) for texts in self.texts)
        sides = {side: rows(texts) for side, texts in self.sides.items()}
        return EmbeddingSet(gallery, self.labels[0], query, self.labels[1], arm=arm, truths=self.truths, sides=sides)

    def _prefix(self, truth: Truth) -> str:
        return f"{truth.name}_" if len(self.judges) > 1 else ""

    def _names(self, truth: Truth) -> tuple[str, ...]:
        first, *rest = (self._prefix(truth) + measure for measure in truth.measures)
        return (first, *rest, f"{first}_in_n99", *(f"{first}_in_{budget}_bytes" for budget in self.budgets))

    def _columns(self) -> list[str]:
        """Return the names above the file's lines."""
        figures = (figure for truth in self.judges for figure in self._names(truth))
        words = (self._prefix(truth) + word for truth in self.judges for word in ("verdict", "reason"))
        return ["epoch", "steps", *_FIGURES, *figures, *words]

    def _values(self, score: Score) -> list[float]:
        """Return the figures of `_names`; NaN where nothing fits a budget, or all rows are equal."""
        forms = [best_form([score], budget) for budget in self.budgets]
        return [
            *(score.figures[measure] for measure in score.truth.measures),
            score.value_at(score.n99) if score.n99 else float("nan"),
            *(float("nan") if form is None else form.accuracy for form in forms),
        ]


def _neighbours(baseline: EmbeddingSet | None) -> NeighbourTruth:
    if baseline is None:
        raise ValueError(
            "`truths` must not be empty without labels and without a baseline; got none: give labels or a truth, or "
            "the model that was there before, whose neighbours then are the truth."
        )
    return NeighbourTruth.of(baseline)


def _check_columns(path: Path, columns: list[str]) -> None:
    """Check that a line of these columns fits the file, if there is one."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        there = next(csv.reader(file), columns)
    if there != columns:
        differ = sorted(set(there) ^ set(columns)) or ["their order"]
        raise ValueError(
            f"`output_path` must not hold a table with other columns; {path} differs from this evaluator's in "
            f"{', '.join(differ[:4])}: choose another output folder or another `name`."
        )


def _add_line(path: Path, columns: list[str], line: dict[str, object]) -> None:
    """Add a line to a CSV file; the first has the names above it."""
    added = io.StringIO(newline="")
    writer = csv.DictWriter(added, columns)
    earlier = path.read_bytes().decode() if path.is_file() else ""
    if not earlier:
        writer.writeheader()
    writer.writerow(line)
    write_text(path, earlier + added.getvalue())
