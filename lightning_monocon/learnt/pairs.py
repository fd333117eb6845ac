# SPDX-License-Identifier: Apache-2.0
"""Load vectors that are computed already with pairs of rows that belong together, or with queries and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_monocon.data.judged import Judged
from lightning_monocon.data.split_data import SplitData
from lightning_monocon.data.text.batches import PairSampler
from lightning_monocon.functional.checks import as_float32
from lightning_monocon.functional.relevance import Relevance
from lightning_monocon.learnt.data import Batch, CachedRows, check_differ, check_sizes
from lightning_monocon.scorecard.known_files import named_rows, qrels_truth
from lightning_monocon.scorecard.row_files.places import source_of, texts_of
from lightning_monocon.scorecard.row_files.source import whole_of
from lightning_monocon.scorecard.truth_files.graded_pairs import read_positives, side_rows

_SEARCHED = 4096
"""Rows in a batch of the held-out search, which needs no gradients."""


class Known(NamedTuple):
    """Hold vectors and which of them belong together.

    Attributes:
        rows: ``(N, D)`` float32; of qrels those of the corpus and then those of the queries.
        pairs: ``(2, P)`` int64 numbers of rows that belong together, each pair once.
        grades: ``(P,)`` float64 relevance of the second row for the first; 1 for pairs.
        same: ``(E, 2)`` int64 a query's row and a corpus row that are the same thing.
        corpus: Number of rows of the corpus; 0 for pairs.
        name: How tables call the search.
    """

    rows: Tensor
    pairs: NDArray[np.int64]
    grades: NDArray[np.float64]
    same: NDArray[np.int64]
    corpus: int
    name: str


class CachedPairs(Dataset[Batch]):
    """Serve pairs of cached vectors; a batch of ``B`` pairs is the ``B`` first vectors and then the ``B`` second ones.

    An item is ``(label, index)``, as `PairSampler` yields it; both vectors get the label.

    Args:
        rows: Vectors ``(N, D)``.
        pairs: ``(2, P)`` numbers of rows.
        known: ``(2, K)`` numbers of rows that are known to belong together; the pairs are among them.
    """

    def __init__(self, rows: Tensor, pairs: NDArray[np.int64], known: NDArray[np.int64]) -> None:
        self.rows, self.pairs = rows, pairs
        count = len(rows)
        self._graph: csr_array = coo_array((np.ones(known.shape[1]), tuple(known)), shape=(count, count)).tocsr()

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs[0])

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        """Return the two vectors ``(2, D)`` of one pair and their labels ``(2,)``."""
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> Batch:
        """Return the batch ``(2 B, D)``, ``(2 B,)``."""
        labels, indices = torch.tensor(items, dtype=torch.int64).T
        return self.rows[torch.from_numpy(self.pairs[:, indices.numpy()]).flatten()], labels.repeat(2)

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one label for each of these pairs, ``(B,)``: equal where anything known connects their rows.

        Rows of the batch that are known to belong together are connected even if no drawn pair says so, so that none
        is a false negative. A label is the smallest row number of a connected part.
        """
        nodes, places = np.unique(self.pairs[:, indices], return_inverse=True)
        _, part = connected_components(self._graph[nodes][:, nodes], directed=False)
        # numbers ascend, so the first node of each part has its smallest one
        _, smallest = np.unique(part, return_index=True)
        found: NDArray[np.int64] = nodes[smallest[part[places.reshape(2, -1)[0]]]]
        return found


class EmbeddingPairs(SplitData[CachedRows]):
    """Load cached vectors with pairs of rows that belong together, or with queries and their relevant rows.

    Train batches are ``(rows, labels)`` with ``2 B`` rows, the first of each pair (the queries) and then the second
    ones (their relevant rows); rows of a batch share a label if pairs connect them. So the ordinary `MonoCon` trains a
    head on both sides, as it does on `SentencePairs`.

    A share of the groups is held out, drawn by ``split_seed``: of pairs those rows that pairs connect, of judgements
    the answers of one query. At validation and test one row of each group searches, the query or the first row of the
    group's first pair, among the corpus or all rows that do not search; the rows that it belongs with are the answers.
    `EmbeddingMetrics` then logs ``val/ndcg_at_10`` and more, and `monocon compare` judges arms by the same search.

    Args:
        train: A file of vectors with ids, or a folder or glob, as `monocon score` takes them: the rows that pairs name,
            or the corpus of the judgements.
        pairs: A table of pairs, as of ``monocon score --pairs``: ``id1`` and ``id2`` (or ``sentence1`` and
            ``sentence2`` where ``train`` has texts), and perhaps ``score``.
        queries: Vectors of the queries, with ids; with ``qrels`` alone.
        qrels: Judgements, as of ``monocon score --qrels``: a table, a TREC file, or a folder in BEIR's layout. A grade
            above 0 makes a positive.
        least_score: Score from which on a pair belongs together; needed where the scores of ``pairs`` differ.
        ids: Array or column of the ids; by default ``ids`` or ``id``, or row numbers without one.
        batch_size: Pairs per step and rank.
        val_size: Share of the pairs that is held out, at most; at least one is.
        split_seed: Seed of that part; keep it to compare runs.
        seed: Seed of the order; ``None`` takes that of `seed_everything`, or 0 without one.

    Raises:
        TypeError: At setup, if ids are neither integers nor texts.
        ValueError: If a size is impossible, not just one of ``pairs`` and ``qrels`` is given, or, at setup, a file
            names rows that are not there, no row belongs with another, no group is small enough to be held out, or all
            train vectors are equal.
    """

    has_classes: ClassVar[bool] = False
    monitor: ClassVar[str] = "val/ndcg_at_10"
    num_workers = 0  # the rows are in memory

    def __init__(
        self,
        train: str,
        pairs: str | None = None,
        queries: str | None = None,
        qrels: str | None = None,
        batch_size: int = 512,
        *,
        least_score: float | None = None,
        ids: str = "",
        val_size: float = 0.1,
        split_seed: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        check_sizes(val_size, batch_size, "a negative", 512)
        if (pairs is None) == (qrels is None) or (qrels is None) != (queries is None):
            given = {"pairs": pairs, "queries": queries, "qrels": qrels}
            names = ", ".join(f"`{name}`" for name, value in given.items() if value is not None) or "none"
            raise ValueError(
                f"`data` must name `pairs`, or `queries` and `qrels`; got {names}. Give one of the two, and set the "
                "others to null."
            )
        if least_score is not None and pairs is None:
            raise ValueError(
                f"`least_score` must be left out without `pairs`, got {least_score:g}; every grade above 0 counts."
            )
        self.files, self.least_score, self.ids = (train, pairs, queries, qrels), least_score, ids
        self.batch_size, self.val_size, self.split_seed = batch_size, val_size, split_seed

    def setup(self, stage: str) -> None:
        """Read and split; the same for every stage."""
        train, pairs, queries, qrels = self.files
        if pairs is not None:
            known = _read_pairs(train, pairs, self.least_score, self.ids)
        else:
            known = _read_qrels(train, queries or "", qrels or "", self.ids)
        groups = known.pairs[0] if known.corpus else _parts(known.pairs, len(known.rows))[known.pairs[0]]
        held = _held_out(groups, self.val_size, self.split_seed)
        if self.batch_size > (left := int((~held).sum())):
            raise ValueError(
                f"`batch_size` must not exceed the {left} train pairs (the last short batch is dropped), got "
                f"{self.batch_size}. Lower it."
            )
        own = known.pairs[:, ~held]
        self.pairs = CachedPairs(known.rows, own, np.concatenate([own, known.same.T], axis=1))
        self._hold_out(known, groups, held)

    def _hold_out(self, known: Known, groups: NDArray[np.int64], held: NDArray[np.bool_]) -> None:
        """Make the search of the held-out pairs."""
        _, first = np.unique(groups[held], return_index=True)
        asked = np.unique(known.pairs[0][held][first])
        searched = np.arange(known.corpus) if known.corpus else np.setdiff1d(np.arange(len(known.rows)), asked)
        ends, grades = known.pairs[:, held], known.grades[held]
        if not known.corpus:  # a pair has no direction
            ends, grades = np.concatenate([ends, ends[::-1]], axis=1), np.tile(grades, 2)
        mine = np.isin(ends[0], asked)
        answers = [np.searchsorted(asked, ends[0][mine]), np.searchsorted(searched, ends[1][mine])]
        query, row = (torch.from_numpy(places) for places in answers)
        self._answers, self._name = Relevance(query, row, torch.from_numpy(grades[mine])), known.name
        same = known.same[np.isin(known.same[:, 0], asked)]
        self._same = torch.from_numpy(np.stack([np.searchsorted(asked, same[:, 0]), same[:, 1]], axis=1))
        self.train, self.val = (
            CachedRows(known.rows[torch.from_numpy(part)], torch.arange(len(part))) for part in (searched, asked)
        )
        self.test = self.val

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches of pairs; the order is a function of (seed, epoch)."""
        sampler = PairSampler(self.pairs, self.batch_size, self.seed)
        epoch, batch = self._start()
        if epoch or batch:
            sampler.resume(epoch, batch * self.batch_size)
        return DataLoader(self.pairs, self.batch_size, sampler=sampler, drop_last=True, collate_fn=_as_is)

    def _loader(self, part: CachedRows, sampler: Sampler[Any], *, train: bool = False) -> DataLoader[Any]:
        return DataLoader(part, _SEARCHED, sampler=sampler, collate_fn=_as_is)

    def relevance(self, stage: Literal["val", "test"]) -> Relevance:
        """Return the answers of the held-out search, by places in its two loaders; the same for both stages."""
        return self._answers

    def judged(self) -> Judged:
        """Return the held-out search, by which a comparison judges arms."""
        gallery, query = self.test_dataloader()
        answers = torch.stack([self._answers.query, self._answers.row], dim=1)
        return Judged(self._name, gallery, query, answers, self._same, {})


def _as_is(batch: object) -> object:
    return batch


def _read_pairs(train: str, file: str, least_score: float | None, ids: str) -> Known:
    """Read vectors and the pairs of them that belong together."""
    source, positives = source_of(train, ids), read_positives(file, least_score)
    named = named_rows(source, texts_of(train), Path(file).name, by_text=positives.by_text, what="train")
    left, right = (side.numpy() for side in side_rows(positives, list(named.ids())))
    ends = np.stack([left, right])[:, left != right]
    _, first = np.unique(np.sort(ends, axis=0), axis=1, return_index=True)  # neither order counts twice
    if not len(first):
        raise ValueError(
            f"`pairs` must name two different rows in at least one pair; all {len(left)} of {file} name one row twice."
        )
    none = np.empty((0, 2), dtype=np.int64)
    name = Path(file).resolve().name.split(".")[0]
    rows = check_differ(as_float32(whole_of(source), "train"))
    return Known(rows, ends[:, np.sort(first)], np.ones(len(first)), none, 0, name)


def _read_qrels(train: str, queries: str, qrels: str, ids: str) -> Known:
    """Read a corpus, queries and the rows of the corpus that answer them."""
    corpus, asked = source_of(train, ids), source_of(queries, ids, "query")
    if corpus.width != asked.width:
        raise ValueError(
            f"`queries` must have vectors of {corpus.width} numbers, as `train` has; got {asked.width}. Embed both "
            "files with one model."
        )
    truth = qrels_truth(corpus, asked, qrels)
    positive = truth.grade > 0
    pairs = torch.stack([truth.query[positive] + corpus.length, truth.row[positive]]).numpy()
    same = (truth.excluded + torch.tensor([corpus.length, 0])).numpy()
    rows = torch.cat([check_differ(as_float32(whole_of(corpus), "train")), as_float32(whole_of(asked), "queries")])
    return Known(rows, pairs, truth.grade[positive].double().numpy(), same, corpus.length, truth.name)


def _parts(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the number of the connected part of each row, ``(N,)``."""
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(count, count))
    found: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def _held_out(groups: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Return which pairs are held out, ``(P,)``: whole groups in random order, as long as they fit into the share.

    Raises:
        ValueError: If no group fits, or none would be left.
    """
    names, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    room = max(1, round(share * len(groups)))
    chosen = np.zeros(len(names), dtype=np.bool_)
    for group in torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist():
        if counts[group] <= room:
            chosen[group], room = True, room - counts[group]
    if not chosen.any() or chosen.all():
        raise ValueError(
            f"`val_size` must leave groups to train on and groups to hold out, in which rows or queries share their "
            f"answers; there are {len(names)} groups of {counts.min()} to {counts.max()} pairs, and {share:g} of "
            f"{len(groups)} pairs may be held out. Change it, or give more pairs."
        )
    held: NDArray[np.bool_] = chosen[numbers]
    return held
