# SPDX-License-Identifier: Apache-2.0
"""Read what a code is chosen for: rows, queries, and the answers that they should keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.named_argument import named
from lightning_monocon.functional.neighbours import Neighbours
from lightning_monocon.functional.row_keys import direction_keys
from lightning_monocon.functional.spectrum import variances_from_moments
from lightning_monocon.functional.streamed_neighbours import NeighbourStream
from lightning_monocon.functional.truncation_curve import Ties, tie_keys, ties_of_keys
from lightning_monocon.inference.row_ids import check_ids
from lightning_monocon.runs.digest import hash_tensors
from lightning_monocon.scorecard.files import numbered
from lightning_monocon.scorecard.known_files import Known, Sides, file_truths, label_truth
from lightning_monocon.scorecard.row_files.folder import FileRows
from lightning_monocon.scorecard.row_files.formats import STREAMED
from lightning_monocon.scorecard.row_files.places import source_of, texts_of
from lightning_monocon.scorecard.row_files.source import BLOCK, RowSource, blocks_of, whole_of
from lightning_monocon.scorecard.truths import GradedTruth, LabelTruth, NeighbourTruth, QrelsTruth, Truth
from lightning_monocon.scorecard.truths.neighbours import reference_doubts
from lightning_monocon.scorecard.truths.order import equal_row_order
from lightning_monocon.scorecard.truths.truth import distinct
from lightning_monocon.shrink.rows import Rows, StoredRows, Survey, blocks, rows_of, survey
from lightning_monocon.shrink.split import check_rows, hold_out, sampled

Answers = Literal["neighbours", "labels", "qrels", "pairs"]
"""What a code should keep."""

SECOND_ROWS = 20_000
"""Rows of a second corpus that are judged at most, the first ones."""

_NEAREST = 10
_LABELS = "write .npz, .safetensors or .parquet files with an array or column labels (a .npy file holds vectors alone)"


@dataclass(frozen=True, eq=False)
class Task:
    """Hold rows, queries and the answers that a code should keep.

    Attributes:
        gallery: ``(N, D)``, in memory or in files.
        query: ``(Q, D)``.
        truth: The answers.
        ids: ``(N,)`` names of the rows; None if they have none.
        held_out: Whether the queries are rows of the gallery that were taken out of it.
        notes: What the report must say of them.
        surveyed: Keys, moments and digest of the rows, if they are known.
        repeats: Queries that are rows.
    """

    gallery: Rows = field(repr=False)
    query: Tensor = field(repr=False)
    truth: Truth
    ids: NDArray[Any] | None = field(default=None, repr=False)
    held_out: bool = False
    notes: tuple[str, ...] = ()
    surveyed: Survey | None = field(default=None, repr=False)
    repeats: int = 0

    @cached_property
    def survey(self) -> Survey:
        """Keys, moments and digest of the rows; one pass over them, unless they are known."""
        return self.surveyed or survey(self.gallery)

    @cached_property
    def ties(self) -> Ties:
        """Order of equally near rows, which depends on the rows and not on their places."""
        labels = self.truth.gallery if isinstance(self.truth, LabelTruth) else None
        return ties_of_keys(self.survey.ties, equal_row_order(len(self.gallery), labels), tie_keys(self.query))

    @property
    def stamp(self) -> str:
        """Digest of rows, queries and answers."""
        return f"{self.survey.digest} {hash_tensors({'query': self.query})} {self.truth.key}"

    def nearest(self, codes: Iterable[Tensor], query: Tensor, depth: int) -> Neighbours:
        """Return the nearest rows ``(Q, depth)`` of each query, where both are stored in another form.

        Args:
            codes: The rows of the gallery in that form, in their order, in blocks ``(B, D')``.
            query: ``(Q, D')``.
            depth: How many.
        """
        places = torch.empty_like(self.ties.order)
        places[self.ties.order] = torch.arange(len(places))
        stream, start = NeighbourStream(query, depth, "cosine", self.ties.first), 0
        for block in codes:
            stream.add(block, places[start : start + len(block)])
            start += len(block)
        found = stream.result()
        return Neighbours(found.distances, self.ties.order[found.indices])

    def asking(self, queries: Tensor) -> Task | None:
        """Return the task with some of its queries, by number; None if the answers of one depend on others."""
        truth: Truth
        if isinstance(self.truth, NeighbourTruth):
            truth = replace(self.truth, nearest=self.truth.nearest[queries])
        elif isinstance(self.truth, LabelTruth):
            truth = replace(self.truth, query=self.truth.query[queries])
        else:
            return None
        return replace(self, query=self.query[queries], truth=truth, surveyed=self.survey)

    def among(self, rows: Tensor) -> Task:
        """Return the same queries with their exact neighbours among some of the rows, by number."""
        return with_neighbours(replace(self, gallery=self.gallery[rows], ids=None, notes=(), surveyed=None))

    def sampled(self, count: int, seed: int) -> Task:
        """Return the task on ``count`` random rows, and on all rows that are an answer.

        Neighbours are looked for again among these rows.
        """
        rows = sampled(len(self.gallery), count, seed)
        if isinstance(self.truth, NeighbourTruth):
            return self.among(rows)
        rows = distinct(torch.cat([rows, self.truth.answers]))
        truth = self.truth.onto(rows)
        assert truth is not None  # all answers are there
        return replace(self, gallery=self.gallery[rows], ids=None, truth=truth, surveyed=None)


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
    with named("VECTORS", "files", "vectors"):
        return _read(vectors, queries, answers, file, ids, seed)


def _read(
    vectors: Sequence[str | Path],
    queries: str | Path | None,
    answers: Answers,
    file: str | Path | None,
    ids: str,
    seed: int,
) -> Task:
    source = rows_of_places(vectors, ids)
    names = _names(source) if source.has_ids else None
    if names is not None:
        check_ids("VECTORS", names)  # a store that is loaded names each row by its id
    if queries is None:
        return _held_out(source, names, answers, seed)
    with named("--queries", "files"):
        asked = source_of(queries, ids, "query")
        query = whole_of(asked)
    if asked.width != source.width:
        raise ValueError(
            f"`--queries` must have the {source.width} numbers of VECTORS; got {asked.width}: embed both "
            "with one model."
        )
    if answers == "neighbours":
        return _neighbour_task(source, names, asked, query)
    truth = _truth(Sides(source, asked, "vectors", texts_of(queries)), answers, file)
    return _told(_checked(Task(rows_of(source), query, truth, names), source.length))


def _names(source: RowSource) -> NDArray[Any]:
    """Return the ids of all rows; integers are int64, to which files of unsigned ones are joined without rounding.

    Raises:
        ValueError: If an id is beyond int64.
    """
    largest, blocks = np.iinfo(np.int64).max, [np.asarray(block) for block in source.ids()]
    for block in blocks:
        if block.dtype.kind == "u" and len(block) and int(block.max()) > largest:
            raise ValueError(
                f"`VECTORS` must have ids up to {largest}, or texts; got {int(block.max())}: write them as texts."
            )
    return np.concatenate([block.astype(np.int64) if block.dtype.kind in "iu" else block for block in blocks])


def _truth(sides: Sides, answers: Answers, file: str | Path | None) -> Truth:
    if answers == "labels":
        truth: Truth | None = label_truth(sides, Known())
    else:
        known = Known(qrels=file) if answers == "qrels" else Known(pairs=(file or "",))
        with named(f"--{answers}", answers):
            truth = file_truths(sides, known)[0]
    if truth is None:
        raise ValueError(f"`--labels` needs labels in VECTORS and in --queries; one of them has none: {_LABELS}.")
    return truth


def second_task(corpus: str | Path, width: int, seed: int = 0) -> Task:
    """Read a second corpus, of which some rows are queries that look for their own exact neighbours.

    Raises:
        ValueError: If its vectors have another width, or there are too few.
    """
    with named("--second", "files"):
        source = source_of(corpus, "")
    if source.width != width:
        raise ValueError(
            f"`--second` must hold vectors of {width} numbers, as VECTORS does; got {source.width}: embed both with "
            "one model."
        )
    with named("--second", "files"):
        rows = torch.cat(list(islice(blocks_of(source), -(-SECOND_ROWS // BLOCK))))[:SECOND_ROWS]
    with named("--second", "VECTORS"):
        kept, asked = hold_out(len(rows), seed)
        task = _checked(Task(rows[kept], rows[asked], _NOTHING, held_out=True), len(kept))
    return _told(with_neighbours(task))


def rows_of_places(places: Sequence[str | Path], ids: str = "") -> RowSource:
    """Open one place, or several files as one."""
    if len(places) == 1:
        return source_of(places[0], ids)
    if wrong := [place for place in places if Path(place).suffix not in STREAMED]:
        raise ValueError(
            f"`VECTORS` must be .parquet or .safetensors files where there are several; got {wrong[0]}: write its rows "
            "to such a file, or join all in one file."
        )
    return FileRows([Path(place) for place in places], "", ids)


_NOTHING = NeighbourTruth(torch.empty(0, 1, dtype=torch.int64), 1, "")


def _held_out(source: RowSource, names: NDArray[Any] | None, answers: Answers, seed: int) -> Task:
    if answers in ("qrels", "pairs"):
        raise ValueError(f"`--{answers}` needs --queries; rows of VECTORS that are held out have no answers.")
    labels = source.labels() if answers == "labels" else None
    if answers == "labels" and labels is None:
        raise ValueError(f"`--labels` needs labels in VECTORS; it has none: {_LABELS}.")
    kept, asked = hold_out(source.length, seed)
    mask = torch.ones(source.length, dtype=torch.bool)
    mask[asked] = False
    # without names the numbers of the rows, which are not those of the rows that are left
    ids = (np.arange(source.length) if names is None else names)[kept.numpy()]
    task = Task(rows_of(source, mask), StoredRows(source)[asked], _NOTHING, ids, held_out=True)
    task = _checked(task, source.length)
    if labels is None:
        return _told(with_neighbours(task))
    known, wanted = numbered(labels[kept.numpy()], labels[asked.numpy()])
    return _told(replace(task, truth=LabelTruth(known.long(), wanted.long())))


def _neighbour_task(source: RowSource, names: NDArray[Any] | None, asked: RowSource, query: Tensor) -> Task:
    """Return the task with the exact neighbours as its truth, among the rows that do not have the id of a query."""
    kept: Tensor | None = None
    notes: tuple[str, ...] = ()
    if names is not None and source.named and asked.named:
        twins = np.isin(names, np.concatenate([np.asarray(block) for block in asked.ids()]))
        if twins.any():
            kept, names = torch.from_numpy(~twins), names[~twins]
            notes = (f"{int(twins.sum())} rows have the id of a query and were left out",)
    task = Task(rows_of(source, kept), query, _NOTHING, names, notes=notes)
    return _told(with_neighbours(_checked(task, source.length)))


def _checked(task: Task, given: int) -> Task:
    """Return a task whose rows differ and are enough to fit codes on, where some have left the gallery.

    Args:
        task: Rows and queries.
        given: Rows of the files, some of which may have left the gallery.
    """
    if len(task.gallery) and len(distinct(task.survey.directions)) < 2:
        raise ValueError(
            f"`VECTORS` must hold rows that differ; all {len(task.gallery):,} have one direction: check how they were "
            "embedded."
        )
    if len(task.gallery) < given:
        check_rows(len(task.gallery), given, task.held_out)
    return task


def with_neighbours(task: Task) -> Task:
    """Return the task with the exact neighbours of whole vectors as its truth, and what puts them in doubt."""
    rows, name = len(task.gallery), "whole vectors"
    found = task.nearest(blocks(task.gallery), task.query, min(_NEAREST + 1, rows))
    gaps = found.distances[:, _NEAREST] - found.distances[:, _NEAREST - 1] if rows > _NEAREST else None
    collapsed = task.gallery.shape[1] > 1 and not components_for(variances_from_moments(task.survey.moments), 0.99) > 1
    doubts = reference_doubts(name, rows, len(distinct(task.survey.ties)), collapsed, gaps, _NEAREST)
    truth = NeighbourTruth(found.indices[:, :_NEAREST].contiguous(), rows, name, warnings=doubts)
    return replace(task, truth=truth, surveyed=task.survey)


def _told(task: Task) -> Task:
    """Return the task with notes on rows and queries that are zeros, repeated or unanswered, and on doubtful truths."""
    # with pairs nothing is searched, and both sides of them are often rows of one file
    is_searched = not isinstance(task.truth, GradedTruth)
    same = int(torch.isin(direction_keys(task.query), task.survey.directions).sum()) if is_searched else 0
    repeats = f"{same} of {len(task.query)} queries are rows of VECTORS, which every code finds easily"
    doubts = task.truth.warnings if isinstance(task.truth, NeighbourTruth) else ()
    strange = _strange(task.truth) if isinstance(task.truth, LabelTruth) else 0
    unknown = f"{strange} of {len(task.query)} queries have a label that no row has, so that no code answers them"
    unanswered = len(task.query) - task.truth.units if isinstance(task.truth, QrelsTruth) else 0
    unasked = f"{unanswered} of {len(task.query)} queries have no answer and were left out"
    directionless = "are zeros, which have no direction to compare"
    zeros = int((task.query == 0).all(1).sum())
    blank = f"{zeros} of {len(task.query)} queries {directionless}"
    zero_rows = int((task.survey.directions == direction_keys(task.query.new_zeros(1, task.query.shape[1]))).sum())
    empty = f"{zero_rows} of {len(task.gallery)} rows of VECTORS {directionless}"
    counted = (repeats, same), (unknown, strange), (unasked, unanswered), (blank, zeros), (empty, zero_rows)
    told = [note for note, count in counted if count]
    notes = (*task.notes, *told, *doubts)
    return replace(task, notes=notes, surveyed=task.survey, repeats=same)


def _strange(truth: LabelTruth) -> int:
    """Return how many queries have a label that no row has."""
    return int((~torch.isin(truth.query, truth.gallery)).sum())
