# SPDX-License-Identifier: Apache-2.0
"""Read embeddings together with files of what is known of them: qrels, graded pairs, or nothing.

Embeddings are a gallery and a query: two files, two folders or globs of Parquet or safetensors files, the folder that
`monocon predict` writes, or one file with ``gallery`` and ``query``. A gallery that is too large for memory is not
held; see `lightning_monocon.scorecard.streamed`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_monocon.functional.named_argument import named
from lightning_monocon.inference.shards import Ids
from lightning_monocon.scorecard.arrays import array_names, read_array
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.files import GIVEN, numbered
from lightning_monocon.scorecard.row_files.array import ArrayRows
from lightning_monocon.scorecard.row_files.folder import (
    IDS,
    CorpusRows,
    check_has_vectors,
    files_of,
)
from lightning_monocon.scorecard.row_files.formats import chosen_name
from lightning_monocon.scorecard.row_files.places import TEXTS, shards_of, source_of, split_name, texts_of
from lightning_monocon.scorecard.row_files.source import RowSource, whole_of
from lightning_monocon.scorecard.streamed import StreamedSet
from lightning_monocon.scorecard.truth_files.graded_pairs import pair_rows, read_pair_files
from lightning_monocon.scorecard.truth_files.ids import rows_of
from lightning_monocon.scorecard.truth_files.qrels import judged_rows, read_qrels
from lightning_monocon.scorecard.truths import GradedTruth, LabelTruth, NeighbourTruth, QrelsTruth, Truth

IN_MEMORY = 1 << 28
"""Bytes of a gallery up to which it is held in memory; a search needs a few copies."""

_SHOWN = 3
"""Ids that a message shows."""


@dataclass(frozen=True)
class Known:
    """Say in which files is written what is known of rows.

    Attributes:
        qrels: A file of relevance judgements, or a folder in BEIR's layout.
        pairs: Files of graded pairs of queries.
        neighbours: Whether the neighbours at full width are a truth too.
        ids: Array or column of the ids; by default ``ids`` or ``id``, or row numbers without one.
    """

    qrels: str | Path | None = None
    pairs: tuple[str | Path, ...] = ()
    neighbours: bool = False
    ids: str = ""


class Sides(NamedTuple):
    """Hold the two streams of an embedding, and where the query's texts are."""

    gallery: RowSource
    query: RowSource
    name: str
    texts: RowSource | None


class _Ids:
    """Read the ids of a source again whenever they are asked for: kept, millions of texts take as much as vectors."""

    def __init__(self, source: RowSource) -> None:
        self._source = source

    def __iter__(self) -> Iterator[Ids]:
        return self._source.ids()


def is_streamed(files: Sequence[str | Path]) -> bool:
    """Return whether a place is a folder or glob, which `load_known` reads shard by shard."""
    return any(files_of(split_name(file)[0]) is not None for file in files)


def load_known(
    files: Sequence[str | Path], known: Known, baseline: EmbeddingSet | None = None, name: str = ""
) -> EmbeddingSet | StreamedSet:
    """Read embeddings and what is known of them.

    Args:
        files: One or two places, in the order gallery, query; an array or column is named by ``:NAME`` at the end.
        known: The files of truths.
        baseline: Embeddings of the same rows, whose neighbours count where ``known.neighbours``.
        name: What tables call them; by default the first file's name.

    Returns:
        A set in memory, or a streamed one if its gallery takes more than `IN_MEMORY` bytes.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If arrays or ids are of the wrong kind, or labels where ``known`` gives no truth.
        ValueError: If a file is damaged or of an unknown layout, or names rows that are not there.
    """
    sides = _opened(files, known.ids)
    sides = sides._replace(name=name or sides.name)
    query = whole_of(sides.query)
    labels, truths = label_truth(sides, known), file_truths(sides, known)
    if _is_large(sides.gallery):
        truths = truths if labels is None else (labels, *truths)
        return StreamedSet(sides.gallery, query, truths, known.neighbours, arm=sides.name, stage=GIVEN)
    data = EmbeddingSet(
        whole_of(sides.gallery),
        None if labels is None else labels.gallery,
        query,
        None if labels is None else labels.query,
        arm=sides.name,
        stage=GIVEN,
        truths=truths,
    )
    if not known.neighbours:
        return data
    reference = NeighbourTruth.of(data if baseline is None else baseline)
    return replace(data, truths=(*truths, reference))


def load_baseline(places: Sequence[str | Path], files: Sequence[str | Path], known: Known) -> EmbeddingSet:
    """Read another model's embeddings of the same rows, in the order of ``files`` if both have ids.

    Where only one has, and several processes wrote it, its ids are the numbers of the other's rows.

    Args:
        places: One or two places of the baseline.
        files: One or two places of what is compared with it, which `load_known` reads.
        known: The files of truths, which are those of ``files``; only the name of the ids matters here.

    Raises:
        ValueError: If the ids differ, one belongs to two rows, the galleries are too large for memory, neighbours are
            compared and the numbers of rows differ, or `load_known` refuses a file.
    """
    with named("baseline", "files"):
        theirs = _opened(places, known.ids)
    ours = _opened(files, known.ids)
    parts = []
    for name, their, our in (("gallery", theirs.gallery, ours.gallery), ("query", theirs.query, ours.query)):
        if any(_is_large(source) for source in (their, our)):
            raise ValueError(
                f"`baseline` must be left out where a {name} does not fit into memory; one takes more than "
                f"{IN_MEMORY >> 20} MB. Score both alone, or compare a sample of the rows."
            )
        with named("baseline", "files"):
            rows = whole_of(their)
        if known.neighbours and their.length != our.length:
            raise ValueError(
                f"`baseline` must hold the rows of `files`, whose neighbours are compared; its {name} has "
                f"{their.length} rows, that of `files` {our.length}. Embed the same rows with both models."
            )
        by_id = (their.has_ids and our.has_ids) or any(_in_turns(source) for source in (their, our))
        parts.append(rows[_order(name, their, our)] if by_id else rows)
    return EmbeddingSet(parts[0], None, parts[1], None, arm=theirs.name, stage=GIVEN)


def _in_turns(source: RowSource) -> bool:
    """Return whether several processes wrote the rows, which then stand in another order than in the data set."""
    return isinstance(source, CorpusRows) and source.space.ranks > 1


def _order(name: str, their: RowSource, our: RowSource) -> list[int]:
    """Return which row of a baseline has the id of each of our rows."""
    theirs, ours = ([str(id_) for block in source.ids() for id_ in block.tolist()] for source in (their, our))
    rows, _ = rows_of(ours, their.ids()), rows_of(theirs, our.ids())  # both, as an id may belong to two rows of either
    lacking, further = sorted({*ours} - {*theirs}), sorted({*theirs} - {*ours})
    if lacking or further:
        shown = ", ".join(map(repr, (lacking + further)[:_SHOWN]))
        raise ValueError(
            f"`baseline` must have the ids of `files` in the {name}; it lacks {len(lacking)} of {len(ours)} ids, and "
            f"{len(further)} of its own {len(theirs)} are not in `files`: {shown}. Embed the same rows with both "
            "models; ids are compared as text, so '01' is not 1."
        )
    return [rows[id_] for id_ in ours]


def _is_large(source: RowSource) -> bool:
    return source.length * source.width * (torch.finfo(source.dtype).bits // 8) > IN_MEMORY


def file_truths(sides: Sides, known: Known) -> tuple[Truth, ...]:
    """Return the truths that files of judgements and of pairs hold."""
    found: list[Truth] = [] if known.qrels is None else [qrels_truth(sides.gallery, sides.query, known.qrels)]
    for pairs in read_pair_files(known.pairs):
        rows = pair_rows(pairs, list(named_rows(sides.query, sides.texts, pairs.name, by_text=pairs.by_text).ids()))
        found.append(GradedTruth(pairs.name, rows.left, rows.right, rows.score))
    return tuple(found)


def qrels_truth(gallery: RowSource, query: RowSource, path: str | Path) -> QrelsTruth:
    """Return the judgements, in which a query does not find the row that has its own id unless that is relevant."""
    queries, rows = list(query.ids()), _Ids(gallery)
    judged = judged_rows(read_qrels(path), queries, rows)
    excluded = torch.empty(0, 2, dtype=torch.int64)
    if query.named and gallery.named:
        names = [name for block in queries for name in block.tolist()]
        twins = rows_of(names, rows)
        relevant = judged.grade > 0
        answers = {*zip(judged.query[relevant].tolist(), judged.row[relevant].tolist(), strict=True)}
        pairs = [(place, twins[name]) for place, name in enumerate(names) if name in twins]
        excluded = torch.tensor([pair for pair in pairs if pair not in answers], dtype=torch.int64).view(-1, 2)
    return QrelsTruth(
        query=judged.query,
        row=judged.row,
        grade=judged.grade.long(),
        queries=query.length,
        rows=gallery.length,
        name=Path(path).resolve().name.split(".")[0],
        excluded=excluded,
    )


def named_rows(rows: RowSource, texts: RowSource | None, name: str, *, by_text: bool, what: str = "query") -> RowSource:
    """Return the rows whose ids a file of pairs names.

    Args:
        rows: The embedded rows.
        texts: The same with their texts as ids, if there are any.
        name: Of the pairs, for messages.
        by_text: Whether these name rows by their texts.
        what: What the rows are, for messages.

    Raises:
        ValueError: If there are no texts, and pairs name rows by them.
    """
    if not by_text:
        return rows
    if texts is None:
        raise ValueError(
            f"`pairs` must name rows by id where the {what} has no column {' or '.join(TEXTS)}; {name} names "
            f"them by sentence1 and sentence2. Add the texts to the {what}'s file, or write id1 and id2."
        )
    return texts


def label_truth(sides: Sides, known: Known) -> LabelTruth | None:
    """Return the labels, if both sides have them; a column of another kind that is only called so is none."""
    try:
        gallery, query = sides.gallery.labels(), sides.query.labels()
        if gallery is None or query is None:
            return None
        numbers = numbered(gallery, query)
    except TypeError:
        if known.qrels is None and not known.pairs and not known.neighbours:
            raise
        return None
    return LabelTruth(numbers[0].to(torch.int64), numbers[1].to(torch.int64))


def _opened(files: Sequence[str | Path], ids: str) -> Sides:
    """Open gallery and query."""
    if len(files) == 2:
        gallery, query = source_of(files[0], ids), source_of(files[1], ids, "query")
        place, _ = split_name(files[0])
        name = Path(place).stem if Path(place).is_file() else Path(place).resolve().name.split("*")[0].rstrip("-_.")
        return Sides(gallery, query, name or "embeddings", texts_of(files[1]))
    if len(files) != 1:
        raise ValueError(
            "`files` must be a gallery and a query, or one place that holds both; only class labels "
            f"may lie in files of their own, beside vectors of no folder or glob; got {len(files)}."
        )
    return _folder(Path(files[0])) if Path(files[0]).is_dir() else _file(Path(files[0]))


def _folder(path: Path) -> Sides:
    """Open gallery and query of a folder that `monocon predict` wrote."""
    check_has_vectors(path)
    shards = shards_of(path) if (path / "space.json").is_file() else None
    if shards is None or shards.parts != ["gallery", "query"]:
        found = f"holds {', '.join(shards.parts)} alone" if shards else "is no folder that `monocon predict` wrote"
        raise ValueError(f"`files` must be a gallery and a query; {str(path)!r} {found}. Give two places.")
    return Sides(CorpusRows(shards, "gallery"), CorpusRows(shards, "query"), path.resolve().name, None)


def _file(path: Path) -> Sides:
    """Open gallery and query of one file."""
    there = array_names(path)
    if not {"gallery", "query"} <= {*there}:
        found = ", ".join(filter(None, there)) or "one array without a name"
        raise ValueError(
            "`files` must be a gallery and a query, in two files or as the arrays gallery and query of one; "
            f"{str(path)!r} alone holds {found}. Give the queries in a second file; without any, set a part of the "
            "rows aside for them."
        )
    gallery, query = (_part(path, there, part) for part in ("gallery", "query"))
    return Sides(gallery, query, path.stem, None)


def _part(path: Path, there: Sequence[str], part: str) -> RowSource:
    ids, labels = (name if (name := f"{part}_{what}") in there else "" for what in ("ids", "labels"))
    return ArrayRows(path, part, ids, labels)


def check_order(files: Sequence[str | Path], others: Sequence[str | Path]) -> None:
    """Check that two models' files of the same rows have them in one order, where both name their rows by ids.

    Raises:
        ValueError: If an id differs.
    """
    for file, other in zip(files, others, strict=False):
        found, expected = _ids_in(file), _ids_in(other)
        if found is None or expected is None or len(found) != len(expected):
            continue
        differ = np.flatnonzero(found.astype(str) != expected.astype(str))
        if len(differ):
            row = int(differ[0])
            raise ValueError(
                f"`files` must have the rows of {other} in the same order; row {row} is {found[row]} in {file} and "
                f"{expected[row]} there. Sort both by their ids."
            )


def _ids_in(file: str | Path) -> NDArray[Any] | None:
    path = Path(split_name(file)[0])
    name = chosen_name(path, IDS) if path.is_file() else None
    return None if name is None else np.asarray(read_array(path, name))
