# SPDX-License-Identifier: Apache-2.0
"""Open one place of rows: a file, a folder or glob of files, or a folder that `monocon predict` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from lightning_monocon.functional.named_argument import named
from lightning_monocon.inference.shards import Shards
from lightning_monocon.scorecard.arrays import KINDS, array_names
from lightning_monocon.scorecard.row_files.array import ArrayRows
from lightning_monocon.scorecard.row_files.folder import (
    EMBEDDINGS,
    IDS,
    LABELS,
    CorpusRows,
    FileRows,
    files_of,
)
from lightning_monocon.scorecard.row_files.formats import STREAMED, chosen_name
from lightning_monocon.scorecard.row_files.source import RowSource

TEXTS = ("text", "texts", "sentence", "sentences")
"""Usual names of the column of texts, by which pairs of sentences name rows; the first that is there counts."""

Part: TypeAlias = Literal["gallery", "query"]


def source_of(file: str | Path, ids: str, part: Part = "gallery") -> RowSource:
    """Open the rows of one place: a file, a folder or a glob, with the name of an array or column at its end.

    Args:
        file: The place. Behind a folder that `monocon predict` wrote may follow a part, as in ``corpus:query``.
        ids: Array or column of the ids; by default a usual name.
        part: Which part of such a folder is meant where the place names none and there are two.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or a folder lacks the part or is not finished.
    """
    place, name = split_name(file)
    path = Path(place)
    if (path / "space.json").is_file():
        shards = shards_of(path)
        return CorpusRows(shards, _part_of(path, shards.parts, name, part))
    found = files_of(place)
    if found is None and path.suffix in STREAMED:
        found = [path]
    if found is not None:
        return FileRows(found, name, ids)
    names = array_names(path)
    embeddings = name or (names[0] if len(names) == 1 else chosen_name(path, EMBEDDINGS) or EMBEDDINGS[0])
    return ArrayRows(path, embeddings, ids or chosen_name(path, IDS) or "", chosen_name(path, LABELS) or "")


def shards_of(folder: Path) -> Shards:
    """Open a folder that `monocon predict` wrote; raise ValueError if it is not finished."""
    with named("files", "path"):
        return Shards(folder)


def _part_of(folder: Path, there: Sequence[str], name: str, part: Part) -> str:
    """Return the part of a folder that `monocon predict` wrote: the one that is named, the only one, or ``part``."""
    if not name and len(there) == 1:
        return there[0]
    if (chosen := name or part) not in there:
        raise ValueError(
            f"`files` must name a part that the folder holds: {', '.join(there)}; got {name or 'none'} of "
            f"{str(folder)!r}. Write {folder}:{there[0]}."
        )
    return chosen


def texts_of(file: str | Path) -> RowSource | None:
    """Return the query's rows with their texts as ids, if its files have texts."""
    place, name = split_name(file)
    found = files_of(place) or ([Path(place)] if Path(place).suffix in STREAMED else [])
    column = chosen_name(found[0], TEXTS) if found else None
    return FileRows(found, name, column) if column else None


def split_name(file: str | Path) -> tuple[str, str]:
    """Split off the name of an array from a file, a folder or a glob."""
    head, colon, name = str(file).rpartition(":")
    named = colon and not Path(file).exists() and (Path(head).suffix in KINDS or files_of(head) is not None)
    return (head, name) if named else (str(file), "")
