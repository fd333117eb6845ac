# SPDX-License-Identifier: Apache-2.0
"""Read relevance judgements: which rows of the gallery answer a query, and how well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_monocon.data.text.pair_files import finite_numbers
from lightning_monocon.data.text.pair_formats import read_columns
from lightning_monocon.functional.named_argument import named
from lightning_monocon.inference.shards import Ids
from lightning_monocon.scorecard.truth_files.ids import check_known, ids_of, rows_of
from lightning_monocon.scorecard.truth_files.trec import is_blank, is_trec, read_trec

_QUERY = ("query-id", "query_id", "qid", "q_id", "query")
_ROW = ("corpus-id", "corpus_id", "doc_id", "docid", "docno", "doc", "row_id", "row")
_GRADE = ("score", "relevance", "rel", "grade", "label")
"""Names of the columns in BEIR, ir_datasets, PyTerrier, ranx and trectools; the first that is there counts."""

_LARGEST = 2**53
"""Largest grade; above it float64 leaves whole numbers out."""


@dataclass(frozen=True, eq=False)
class Qrels:
    """Hold relevance judgements, checked.

    Args:
        query_ids: ``(P,)`` id of the query of each judgement.
        row_ids: ``(P,)`` id of the row that is judged, each once per query.
        grades: ``(P,)`` float64 whole numbers, the relevance; 0 for a row that does not answer.
        source: Where they come from, for messages.

    Raises:
        ValueError: If there are none, a relevance is not a whole number from 0 to 2**53, or a pair is judged twice.
    """

    query_ids: tuple[str, ...]
    row_ids: tuple[str, ...]
    grades: NDArray[np.float64]
    source: str = "qrels"

    def __post_init__(self) -> None:
        if not self.query_ids:
            raise ValueError(f"`qrels` must hold at least one judgement; {self.source} is empty.")
        wrong = ~(np.isfinite(self.grades) & (self.grades >= 0))
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"`qrels` must hold relevance of at least 0; {self.source} has {self.grades[row]:g} in row {row}. "
                "Write 0 for rows that do not answer, or leave them out."
            )
        if (large := self.grades > _LARGEST).any():
            row = int(large.argmax())
            raise ValueError(
                f"`qrels` must hold relevance of at most 2**53, up to which float64 tells whole numbers apart; "
                f"{self.source} has {self.grades[row]:g} in row {row}. Write smaller grades, such as 0 to 3."
            )
        if (broken := self.grades != self.grades.round()).any():
            row = int(broken.argmax())
            raise ValueError(
                f"`qrels` must hold whole grades of relevance; {self.source} has {self.grades[row]:g} in row {row}. "
                "Multiply or round them."
            )
        seen: dict[tuple[str, str], int] = {}
        for row, pair in enumerate(zip(self.query_ids, self.row_ids, strict=True)):
            if seen.setdefault(pair, row) != row:
                raise ValueError(
                    f"`qrels` must judge a row once for a query; {self.source} judges {pair[1]!r} for query "
                    f"{pair[0]!r} in the rows {seen[pair]} and {row}. Remove one of them."
                )


class JudgedRows(NamedTuple):
    """Hold judgements as numbers of embedded rows, by query and then by row.

    Attributes:
        query: ``(P,)`` int64 rows of the queries.
        row: ``(P,)`` int64 rows of the gallery.
        grade: ``(P,)`` float64 relevance.
        left_out: Embedded queries without a relevant row, which no figure can judge.
    """

    query: Tensor
    row: Tensor
    grade: Tensor
    left_out: int


def read_qrels(path: str | Path) -> Qrels:
    """Read judgements from a TREC file or a table.

    A text file without a header and with four columns (query, ignored, row, relevance) is a TREC file, whatever its
    ending. Tables are csv, tsv, jsonl and parquet, gzipped or not, with columns such as ``query-id``, ``corpus-id``
    and ``score``.

    A folder stands for its ``qrels/test.tsv``, as in BEIR's layout. A relevance below 0, which marks junk in some of
    TREC's files, counts as 0, as in trec_eval.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If ids are neither integers nor texts.
        ValueError: If it is not such a file, lacks a column, or `Qrels` refuses what it holds.
    """
    path = Path(path)
    if path.is_dir():
        path = judgements_in(path)
    if not path.is_file():
        raise FileNotFoundError(f"`qrels` must be a file of judgements; there is none at {str(path)!r}.")
    if is_blank(path):
        raise ValueError(f"`qrels` must hold at least one judgement; {str(path)!r} is empty.")
    if is_trec(path):
        queries, rows, grades = read_trec(path)
        return Qrels(queries, rows, np.maximum(grades, 0), str(path))
    with named("qrels", "path", "columns"):
        table = read_columns(path, [_QUERY, _ROW, _GRADE])
        query, row, grade = table.column_names
        queries, rows = (tuple(ids_of(table, name, path)) for name in (query, row))
        grades = finite_numbers(table, grade, path)
    return Qrels(queries, rows, np.maximum(grades, 0), str(path))


def judgements_in(folder: Path, split: str = "test") -> Path:
    """Return the file of judgements of a folder in BEIR's layout.

    Raises:
        FileNotFoundError: If it has none for the split; the message names those of other splits.
    """
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        others = ", ".join(str(other) for other in sorted(path.parent.glob("*.tsv")))
        raise FileNotFoundError(
            f"`qrels` must be a file of judgements, or a BEIR folder with qrels/{split}.tsv; {str(folder)!r} has none. "
            + (f"Name one of its files: {others}." if others else "Name the file.")
        )
    return path


def judged_rows(qrels: Qrels, query: Sequence[Ids], gallery: Iterable[Ids]) -> JudgedRows:
    """Return judgements as numbers of embedded rows.

    Args:
        qrels: The judgements.
        query: Ids of the embedded queries, block by block.
        gallery: Ids of the embedded rows of the gallery, block by block; iterated again to say what it holds.

    Raises:
        ValueError: If an id is unknown or belongs to two rows, or no query has a relevant row.
    """
    queries, rows = rows_of(qrels.query_ids, query), rows_of(qrels.row_ids, gallery)
    check_known("qrels", "query", qrels.query_ids, queries, query)
    check_known("qrels", "row of the gallery", qrels.row_ids, rows, gallery)
    numbers = np.array([queries[name] for name in qrels.query_ids]), np.array([rows[name] for name in qrels.row_ids])
    answered = len(np.unique(numbers[0][qrels.grades > 0]))
    if not answered:
        raise ValueError(
            f"`qrels` must name a relevant row for at least one query; {qrels.source} has no relevance above 0."
        )
    order = np.lexsort((numbers[1], numbers[0]))
    query_rows, gallery_rows, grades = (
        torch.from_numpy(values[order]) for values in (*numbers, np.asarray(qrels.grades, dtype=np.float64))
    )
    return JudgedRows(query_rows, gallery_rows, grades, sum(map(len, query)) - answered)
