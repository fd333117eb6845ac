# SPDX-License-Identifier: Apache-2.0
"""Load vectors that are computed already, with or without labels, from the files that `monocon score` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_monocon.data.sampling import EpochSampler
from lightning_monocon.data.split_data import SplitData
from lightning_monocon.functional.checks import as_float32
from lightning_monocon.functional.named_argument import named
from lightning_monocon.inference.space import model_differences
from lightning_monocon.scorecard.files import numbered
from lightning_monocon.scorecard.row_files.folder import CorpusRows
from lightning_monocon.scorecard.row_files.places import shards_of, source_of
from lightning_monocon.scorecard.row_files.source import RowSource, whole_of

Batch: TypeAlias = tuple[Tensor, Tensor]


class CachedRows(Dataset[Batch]):
    """Hold vectors ``(N, D)`` and labels ``(N,)``, and fetch a whole batch at once."""

    def __init__(self, rows: Tensor, labels: Tensor) -> None:
        self.rows, self.labels = rows, labels

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.rows)

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        """Return one vector ``(D,)`` and its label ``()``."""
        rows, labels = self.__getitems__([item])
        return rows[0], labels[0]

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """Return the batch ``(B, D)``, ``(B,)``; an ``(epoch, index)`` key of `EpochSampler` means its index."""
        chosen = torch.tensor([item if isinstance(item, int) else item[1] for item in items], dtype=torch.int64)
        return self.rows[chosen], self.labels[chosen]


def check_sizes(val_size: float, batch_size: int, held: str, default: int) -> None:
    """Raise `ValueError` unless a share can be held out, and a batch can hold what the loss needs of it."""
    if not 0 < val_size < 1:
        raise ValueError(f"`val_size` must lie strictly between 0 and 1, got {val_size}. Try 0.1.")
    if batch_size < 2:
        raise ValueError(f"`batch_size` must be at least 2 to hold {held}, got {batch_size}. Try {default}.")


class EmbeddingData(SplitData[CachedRows]):
    """Load cached vectors; a random part of the train rows is the query at validation.

    Validation, test and prediction loaders come in pairs: the gallery (train rows) and the query. Without labels each
    row gets its number in place of one, and no metric of classes is computed.

    Args:
        train: A file of vectors, or a folder or glob of Parquet or safetensors files, as `monocon score` takes them; a
            name of an array may follow, as in ``vectors.npz:x``. Labels are the array or column ``labels``. Of a folder
            that `monocon predict` wrote, the gallery.
        test: Vectors of the test query; by default the query of that folder, or else the validation's.
        batch_size: Vectors per step and rank.
        val_size: Share of the train vectors kept for validation.
        split_seed: Seed of the split; keep it to compare runs.
        seed: Seed of the order; ``None`` takes that of `seed_everything`, or 0 without one.

    Raises:
        ValueError: If a share or size is impossible, the files differ in width, two folders of `monocon predict` are of
            different models, one alone has labels, these name one class, or all train vectors are equal.
    """

    num_workers = 0  # the rows are in memory

    def __init__(
        self,
        train: str,
        test: str | None = None,
        batch_size: int = 2048,
        *,
        val_size: float = 0.1,
        split_seed: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        check_sizes(val_size, batch_size, "a pair", 2048)
        self.files, self.batch_size, self.val_size, self.split_seed = (train, test), batch_size, val_size, split_seed
        self.has_classes = True

    @property
    def has_positives(self) -> bool:
        """Return whether labels say which rows belong together; known after `setup`."""
        return self.has_classes

    @property
    def monitor(self) -> str:
        """Return the metric that chooses the best checkpoint; known after `setup`."""
        return "val/knn_accuracy" if self.has_classes else "val/overlap_at_10"

    def setup(self, stage: str) -> None:
        """Read and split; the same for every stage."""
        train, test = self.files
        with named("train", "files"):
            source = source_of(train, "")
            rows, labels = _read(source)
        check_differ(rows)
        with named("train" if test is None else "test", "files"):
            query = _query_of(train) if test is None else source_of(test, "", "query")
            asked, answers = (rows[:0], None if labels is None else labels[:0]) if query is None else _read(query)
        if query is not None:
            _check_one_model(source, query)
        if rows.shape[1] != asked.shape[1] or (labels is None) != (answers is None):
            raise ValueError(
                f"`test` must have vectors of {rows.shape[1]} numbers and labels exactly where `train` has them; "
                f"the test query has {asked.shape[1]} numbers and {'no' if answers is None else 'its'} labels. Embed "
                "both files with one model."
            )
        self.has_classes = labels is not None
        numbers = torch.arange(len(rows)), torch.arange(len(asked))
        if labels is not None and answers is not None:
            numbers = numbered(labels, answers)
            if len(numbers[0]) and (numbers[0] == numbers[0][0]).all():
                raise ValueError(
                    f"`train` must hold at least two classes; all {len(rows)} labels are {labels[0]}. Give the column "
                    "that names the classes, or leave labels out."
                )
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.split_seed))
        kept = max(1, round(self.val_size * len(rows)))
        val, own = order[:kept].sort().values, order[kept:].sort().values
        if self.batch_size > len(own):
            raise ValueError(
                f"`batch_size` must not exceed the {len(own)} train vectors (the last short batch is dropped), got "
                f"{self.batch_size}. Lower it."
            )
        self.train, self.val = (CachedRows(rows[part], numbers[0][part]) for part in (own, val))
        self.test = self.val if query is None else CachedRows(asked, numbers[1])

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches; the order is a function of (seed, epoch)."""
        sampler = EpochSampler(len(self.train), self.seed)
        epoch, batch = self._start()
        if epoch or batch:
            sampler.resume(epoch, batch * self.batch_size)
        return self._loader(self.train, sampler, train=True)


def check_differ(train: Tensor) -> Tensor:
    """Return vectors ``(N, D)``; raise ValueError if all are equal, as those of an encoder that failed are."""
    if len(train) > 1 and bool((train == train[0]).all()):
        said = "equal" if train[0].any() else "zero"
        raise ValueError(f"`train` must hold vectors that differ; all {len(train)} are {said}. Embed the rows again.")
    return train


def _check_one_model(train: RowSource, test: RowSource) -> None:
    """Raise ValueError if two folders that `monocon predict` wrote are of different models."""
    if isinstance(train, CorpusRows) and isinstance(test, CorpusRows):
        if wrong := model_differences(test.space, train.space):
            raise ValueError(
                f"`test` must be embedded by the model of `train`; it has {'; '.join(wrong)}. Embed both with one "
                "model."
            )


def _read(source: RowSource) -> tuple[Tensor, np.ndarray | None]:
    """Return the rows ``(N, D)`` float32, and their labels, if there are any."""
    return as_float32(whole_of(source), "files"), source.labels()


def _query_of(folder: str) -> RowSource | None:
    """Return the query of a folder that `monocon predict` wrote, if it is one."""
    if not (Path(folder) / "space.json").is_file():
        return None
    shards = shards_of(Path(folder))
    return CorpusRows(shards, "query") if "query" in shards.parts else None
