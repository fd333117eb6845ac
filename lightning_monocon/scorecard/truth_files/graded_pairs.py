# SPDX-License-Identifier: Apache-2.0
"""Read pairs of rows with a graded similarity, such as STS-B's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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

_LEFT, _RIGHT, _SCORE = ("id1", "sentence1"), ("id2", "sentence2"), ("score",)
"""Names of the columns; ids count before sentences."""


@dataclass(frozen=True, eq=False)
class PairScores:
    """Hold pairs and the similarity that people gave them, checked.

    Args:
        name: Name of the set in tables.
        left_ids: ``(P,)`` ids of the first rows, or their texts.
        right_ids: ``(P,)`` ids of the second rows, or their texts.
        scores: ``(P,)`` float64 similarities, on any scale.
        by_text: Whether rows are named by their texts.

    Raises:
        ValueError: If a score is not finite, or all are equal, so that no correlation exists.
    """

    name: str
    left_ids: tuple[str, ...]
    right_ids: tuple[str, ...]
    scores: NDArray[np.float64]
    by_text: bool = False

    def __post_init__(self) -> None:
        wrong = ~np.isfinite(self.scores)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(f"`pairs` must have finite scores; {self.name} has {self.scores[row]} in row {row}.")
        if len(np.unique(self.scores)) < 2:
            raise ValueError(
                f"`pairs` must have at least two different scores, otherwise nothing correlates with them; the "
                f"{len(self.scores)} of {self.name} are equal."
            )


class Positives(NamedTuple):
    """Hold pairs of rows that belong together.

    Attributes:
        left_ids: ``(P,)`` ids of the first rows, or their texts.
        right_ids: ``(P,)`` ids of the second rows, or their texts.
        by_text: Whether rows are named by their texts.
    """

    left_ids: tuple[str, ...]
    right_ids: tuple[str, ...]
    by_text: bool


class PairRows(NamedTuple):
    """Hold graded pairs as numbers of embedded rows.

    Attributes:
        left: ``(P,)`` int64.
        right: ``(P,)`` int64.
        score: ``(P,)`` float64.
    """

    left: Tensor
    right: Tensor
    score: Tensor


def read_pair_scores(path: str | Path, within: tuple[float, float] | None = None) -> PairScores:
    """Read graded pairs from a table: csv, tsv, jsonl or parquet, gzipped or not.

    Its columns are ``id1``, ``id2`` and ``score``, or ``sentence1``, ``sentence2`` and ``score`` where rows are named
    by their texts.

    Args:
        path: The file; the set is named after it.
        within: The scale of the scores, lowest and highest, if it is to be checked.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If ids are neither integers nor texts.
        ValueError: If it is not such a table, lacks a column, or a score is not a number of the scale.
    """
    path = Path(path)
    with named("pairs", "path", "columns"):
        return _pair_scores(path, within)


def _pair_scores(path: Path, within: tuple[float, float] | None) -> PairScores:
    table = read_columns(path, [_LEFT, _RIGHT, _SCORE])
    left, right, score = table.column_names
    by_text = _is_by_text(left, right, path)
    scores = finite_numbers(table, score, path)
    if within is not None and (wrong := (scores < within[0]) | (scores > within[1])).any():
        row = int(wrong.argmax())
        raise ValueError(
            f"`pairs` must have scores from {within[0]:g} to {within[1]:g}; {str(path)!r} has {scores[row]:g} in row "
            f"{row}, the first of {wrong.sum()}."
        )
    left_ids, right_ids = (tuple(ids_of(table, name, path)) for name in (left, right))
    return PairScores(path.name.split(".")[0], left_ids, right_ids, scores, by_text)


def _is_by_text(left: str, right: str, path: Path) -> bool:
    by_text = left == _LEFT[1]
    if by_text != (right == _RIGHT[1]):
        raise ValueError(f"`pairs` must name both rows in one way; {str(path)!r} has the columns {left} and {right}.")
    return by_text


def read_positives(path: str | Path, least_score: float | None = None) -> Positives:
    """Read pairs of rows that belong together, from a table as `read_pair_scores` takes it; it may lack the scores.

    Args:
        path: The file.
        least_score: Score from which on a pair counts; None for files in which all pairs do.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If ids are neither integers nor texts.
        ValueError: If it is not such a table, scores differ and none is named, or no pair has the least score.
    """
    path = Path(path)
    with named("pairs", "path", "columns"):
        table = read_columns(path, [_LEFT, _RIGHT], _SCORE)
        left, right = table.column_names[:2]
        by_text = _is_by_text(left, right, path)
        sides = [ids_of(table, name, path) for name in (left, right)]
        scores = finite_numbers(table, _SCORE[0], path) if _SCORE[0] in table.column_names else None
    kept = _positive(scores, least_score, path, len(sides[0]))
    left_ids, right_ids = (tuple(name for name, keep in zip(side, kept, strict=True) if keep) for side in sides)
    return Positives(left_ids, right_ids, by_text)


def _positive(scores: NDArray[np.float64] | None, least: float | None, path: Path, count: int) -> NDArray[np.bool_]:
    """Return which pairs belong together, ``(P,)``."""
    if scores is None or least is None:
        if least is not None:
            raise ValueError(
                f"`least_score` must be left out where pairs have no scores; {str(path)!r} has no column score, and "
                f"`least_score` is {least:g}."
            )
        if scores is not None and scores.min() < scores.max():
            raise ValueError(
                f"`least_score` must say from which score on a pair belongs together; those of {str(path)!r} go from "
                f"{scores.min():g} to {scores.max():g}. Give one, such as {(scores.min() + 3 * scores.max()) / 4:g}."
            )
        return np.ones(count, dtype=np.bool_)
    kept: NDArray[np.bool_] = scores >= least
    if not kept.any():
        raise ValueError(
            f"`least_score` must be a score that a pair has; the highest of {str(path)!r} is {scores.max():g}, and "
            f"`least_score` is {least:g}. Lower it."
        )
    return kept


def read_pair_files(paths: Sequence[str | Path]) -> tuple[PairScores, ...]:
    """Read several sets of graded pairs; sets of files with one name are told apart by their folders, or endings.

    Raises:
        ValueError: If a file is given twice, or `read_pair_scores` refuses one.
    """
    files = [Path(path).resolve() for path in paths]
    if twice := [path for path, file in zip(paths, files, strict=True) if files.count(file) > 1]:
        raise ValueError(f"`pairs` must name each file once; got {str(twice[0])!r} twice. Leave one out.")
    sets = [read_pair_scores(path) for path in paths]
    return tuple(replace(found, name=name) for found, name in zip(sets, _told_apart(files), strict=True))


def _told_apart(files: Sequence[Path]) -> list[str]:
    """Return a name for each of several different files: its own, after as many folders as tell it from the others.

    Example:
        >>> _told_apart([Path("/a/x/test.csv"), Path("/b/x/test.csv"), Path("/b/dev.csv"), Path("/b/dev.tsv")])
        ['a-x-test', 'b-x-test', 'dev.csv', 'dev.tsv']
    """
    plain = [file.with_name(file.name.split(".")[0]) for file in files]
    plain = [file if plain.count(short) > 1 else short for file, short in zip(files, plain, strict=True)]
    return [
        next(
            "-".join(file.parts[-depth:])
            for depth in range(1, len(file.parts) + 1)
            if sum(other.parts[-depth:] == file.parts[-depth:] for other in plain) == 1
        )
        for file in plain
    ]


def pair_rows(pairs: PairScores, known: Sequence[Ids]) -> PairRows:
    """Return graded pairs as numbers of embedded rows.

    Args:
        pairs: The pairs.
        known: Ids of the embedded rows, block by block; their texts where pairs are named by texts.

    Raises:
        ValueError: If an id is unknown or belongs to two rows.
    """
    left, right = side_rows(pairs, known)
    return PairRows(left, right, torch.from_numpy(pairs.scores.copy()))


def side_rows(pairs: PairScores | Positives, known: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Return the numbers ``(P,)`` int64 of the first and of the second rows; errors as those of `pair_rows`."""
    names = (*pairs.left_ids, *pairs.right_ids)
    rows = rows_of(names, known)
    check_known("pairs", "row", names, rows, known)
    left, right = (torch.tensor([rows[name] for name in side]) for side in (pairs.left_ids, pairs.right_ids))
    return left, right
