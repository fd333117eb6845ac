# SPDX-License-Identifier: Apache-2.0
"""Read TREC qrels: lines of query id, an unused field, row id and relevance, without a header."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FIELDS = 4
_BINARY = (".parquet", ".jsonl", ".ndjson", ".csv")


class TrecLines(NamedTuple):
    """Hold the columns of a TREC file, ``(P,)`` each."""

    query_ids: tuple[str, ...]
    row_ids: tuple[str, ...]
    grades: NDArray[np.float64]


def is_trec(path: Path) -> bool:
    """Return whether a file begins with a line of four fields of which the last is a number, as no header does."""
    if not {suffix.lower() for suffix in path.suffixes}.isdisjoint(_BINARY):
        return False
    try:
        first = next(_lines(path), None)
    except (UnicodeDecodeError, OSError, EOFError, zlib.error):
        return False  # the reader of tables says what is wrong
    return first is not None and len(first) == _FIELDS and _number(first[-1]) is not None


def is_blank(path: Path) -> bool:
    """Return whether a file is empty, or a text of blank lines alone."""
    try:
        return not any(_lines(path))
    except (UnicodeDecodeError, OSError, EOFError, zlib.error):
        return False  # the reader of tables says what is wrong


def read_trec(path: Path) -> TrecLines:
    """Return the columns of a TREC file; fields are divided by blanks or tabs.

    Raises:
        ValueError: If a line has another number of fields, or a relevance that is not a number.
    """
    queries, rows, grades = [], [], []
    for number, fields in enumerate(_lines(path), start=1):
        grade = _number(fields[-1]) if len(fields) == _FIELDS else None
        if grade is None:
            raise ValueError(
                "`qrels` must have four fields in every line: query, 0, row and relevance; line "
                f"{number} of {str(path)!r} is {' '.join(fields)!r}."
            )
        queries.append(fields[0])
        rows.append(fields[2])
        grades.append(grade)
    return TrecLines(tuple(queries), tuple(rows), np.array(grades, dtype=np.float64))


def _lines(path: Path) -> Iterator[list[str]]:
    with (
        gzip.open(path, "rt", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(encoding="utf-8-sig") as file
    ):
        yield from (line.split() for line in file if line.strip())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
