# SPDX-License-Identifier: Apache-2.0
"""Read what a code is chosen for: rows, queries, and the answers that they should keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_monocon.functional.row_keys import direction_keys
from lightning_monocon.functional.truncation_curve import Ties, ties_of
from lightning_monocon.runs.digest import hash_tensors
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.files import numbered
from lightning_monocon.scorecard.known_files import Known, Sides, file_truths, label_truth, source_of, texts_of
from lightning_monocon.scorecard.row_files.folder import FileRows
from lightning_monocon.scorecard.row_files.formats import STREAMED
from lightning_monocon.scorecard.row_files.source import RowSource, whole_of
from lightning_monocon.scorecard.truths import LabelTruth, NeighbourTruth, Truth
from lightning_monocon.scorecard.truths.order import equal_row_order
from lightning_monocon.shrink.split import hold_out

Answers = Literal["neighbours", "labels", "qrels", "pairs"]
"""What a code should keep."""

SECOND_ROWS = 20_000
"""Rows of a second corpus that are judged at most, the first ones."""


@dataclass(frozen=True, eq=False)
class Task:
    """Hold rows, queries and the answers that a code should keep.

    Attributes:
        gallery: ``(N, D)``.
        query: ``(Q, D)``.
        truth: The answers.
        ids: ``(N,)`` names of the rows; None if they have none.
        held_out: Whether the queries are rows of the gallery that were taken out of it.
        notes: What the report must say of them.
    """

    gallery: Tensor = field(repr=False)
    query: Tensor = field(repr=False)
    truth: Truth
    ids: NDArray[Any] | None = field(default=None, repr=False)
    held_out: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def ties(self) -> Ties:
        """Order of equally near rows, which depends on the rows and not on their places."""
        labels = self.truth.gallery if isinstance(self.truth, LabelTruth) else None
        return ties_of(self.gallery, equal_row_order(len(self.gallery), labels), self.query)

    @property
    def stamp(self) -> str:
        """Digest of rows, queries and answers."""
        return f"{hash_tensors({'gallery': self.gallery, 'query': self.query})} {self.truth.key}"

    def among(self, rows: Tensor) -> Task:
        """Return the same queries with their exact neighbours among some of the rows, by number."""
        gallery = self.gallery[rows]
        reference = NeighbourTruth.of(EmbeddingSet(gallery, None, self.query, arm="whole vectors"))
        return replace(self, gallery=gallery, truth=reference, ids=None)


def read_task(
    vectors: Sequence[str | Path],
    queries: str | Path | None,
    answers: Answers = "neighbours",
    file: str | Path | None = None,
    ids: str = "",
    seed: int = 0,
) -> Task:
    """Read rows, queries and what is known of them.

    Args:
        vectors: Files, folders or globs of the rows; several must be Parquet or safetensors files.
        queries: Place of the queries; None holds rows out.
        answers: What a code should keep.
        file: File of the qrels or pairs.
        ids: Name of the column of ids.
        seed: Decides which rows are held out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If rows are not finite, widths differ, or a file does not fit the rows.
    """
    source = rows_of_places(vectors, ids)
    names = np.concatenate([np.asarray(block) for block in source.ids()]) if source.has_ids else None
    if queries is None:
        return _held_out(source, names, answers, seed)
    asked = source_of(queries, ids)
    if asked.width != source.width:
        raise ValueError(
            f"`--queries` must have the {source.width} numbers of VECTORS; got {asked.width}: embed both "
            "with one model."
        )
    whole = Task(whole_of(source), whole_of(asked), _NOTHING, names)
    if answers == "neighbours":
        return _neighbour_task(whole, asked if source.named and asked.named else None)
    truth = _truth(Sides(source, asked, "vectors", texts_of(queries)), answers, file)
    return replace(whole, truth=truth, notes=_repeats(whole))


def _truth(sides: Sides, answers: Answers, file: str | Path | None) -> Truth:
    if answers == "labels":
        truth: Truth | None = label_truth(sides, Known())
    else:
        known = Known(qrels=file) if answers == "qrels" else Known(pairs=(file or "",))
        truth = file_truths(sides, known)[0]
    if truth is None:
        raise ValueError("`--labels` needs labels in VECTORS and in --queries; one of them has none: add a column.")
    return truth


def second_task(corpus: str | Path, width: int, seed: int = 0) -> Task:
    """Read a second corpus, of which some rows are queries that look for their own exact neighbours.

    Raises:
        ValueError: If its vectors have another width, or there are too few.
    """
    source = source_of(corpus, "")
    if source.width != width:
        raise ValueError(
            f"`--second` must hold vectors of {width} numbers, as VECTORS does; got {source.width}: embed both with "
            "one model."
        )
    rows = whole_of(source)[:SECOND_ROWS]
    kept, asked = hold_out(len(rows), seed)
    return _neighbour_task(Task(rows[kept], rows[asked], _NOTHING, held_out=True), None)


def rows_of_places(places: Sequence[str | Path], ids: str = "") -> RowSource:
    """Open one place, or several files as one."""
    if len(places) == 1:
        return source_of(places[0], ids)
    if wrong := [place for place in places if Path(place).suffix not in STREAMED]:
        raise ValueError(
            f"`VECTORS` must be .parquet or .safetensors files where there are several; got {wrong[0]}: give one "
            "folder or glob."
        )
    return FileRows([Path(place) for place in places], "", ids)


_NOTHING = NeighbourTruth(torch.empty(0, 1, dtype=torch.int64), 1, "")


def _held_out(source: RowSource, names: NDArray[Any] | None, answers: Answers, seed: int) -> Task:
    if answers in ("qrels", "pairs"):
        raise ValueError(f"`--{answers}` needs --queries; rows of VECTORS that are held out have no answers.")
    rows = whole_of(source)
    kept, asked = hold_out(len(rows), seed)
    ids = None if names is None else names[kept.numpy()]
    task = Task(rows[kept], rows[asked], _NOTHING, ids, held_out=True)
    if answers == "neighbours":
        return _neighbour_task(task, None)
    labels = source.labels()
    if labels is None:
        raise ValueError("`--labels` needs labels in VECTORS; it has none: add a column.")
    gallery, query = numbered(labels[kept.numpy()], labels[asked.numpy()])
    return replace(task, truth=LabelTruth(gallery.long(), query.long()), notes=_repeats(task))


def _neighbour_task(task: Task, asked: RowSource | None) -> Task:
    """Return the task with the exact neighbours as its truth, among the rows that are not queries by their ids."""
    notes: tuple[str, ...] = ()
    if asked is not None and task.ids is not None:
        names = np.concatenate([np.asarray(block) for block in asked.ids()])
        twins = np.isin(task.ids, names)
        if twins.any():
            kept = torch.from_numpy(np.flatnonzero(~twins))
            task = replace(task, gallery=task.gallery[kept], ids=task.ids[~twins])
            notes = (f"{int(twins.sum())} rows have the id of a query and were left out",)
    reference = NeighbourTruth.of(EmbeddingSet(task.gallery, None, task.query, arm="whole vectors"))
    return replace(task, truth=reference, notes=(*notes, *_repeats(task), *reference.warnings))


def _repeats(task: Task) -> tuple[str, ...]:
    same = int(torch.isin(direction_keys(task.query), direction_keys(task.gallery)).sum())
    return (f"{same} of {len(task.query)} queries are rows of VECTORS, which every code finds easily",) if same else ()
