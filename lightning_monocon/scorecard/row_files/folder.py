# SPDX-License-Identifier: Apache-2.0
"""Find the files of a folder or glob, and read their embeddings as one stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_monocon.inference.shards import Ids, Shards
from lightning_monocon.scorecard.arrays import array_names
from lightning_monocon.scorecard.row_files.formats import (
    STREAMED,
    Shape,
    chosen_name,
    has_rows,
    ids_in,
    labels_in,
    pieces_of,
    shape_of,
)
from lightning_monocon.scorecard.row_files.source import BLOCK, Piece, check_filled, lacking

EMBEDDINGS, LABELS, IDS = ("embeddings", "embedding"), ("labels", "label"), ("ids", "id")
"""Usual names of arrays or columns; the first that is there counts."""


class FileRows:
    """Read Parquet or safetensors files of anyone as one stream, a `RowSource`.

    Args:
        paths: The files, in the order of their rows; those without rows are skipped.
        name: Array or column of the embeddings; by default ``embeddings`` or ``embedding``.
        ids: Array or column of the ids; by default ``ids`` or ``id``, or row numbers if there is none.

    Raises:
        TypeError: If ids or labels are of the wrong kind.
        ValueError: If a file is damaged or lacks an array, none has rows, or files have several widths or come from
            several models.
    """

    def __init__(self, paths: Sequence[Path], name: str = "", ids: str = "") -> None:
        self._paths = _filled(paths)
        self._names = [_needed(path, (name,) if name else EMBEDDINGS) for path in self._paths]
        self._ids = [_needed(path, (ids,), are_ids=True) if ids else chosen_name(path, IDS) for path in self._paths]
        self._labels = [chosen_name(path, LABELS) for path in self._paths]
        for what, found in (("ids", self._ids), ("labels", self._labels)):
            if None in found and any(found):
                lacking = self._paths[found.index(None)]
                raise ValueError(f"`files` must all have {what}, or none; {lacking} has none. Add or remove them.")
        shapes = [shape_of(path, name) for path, name in zip(self._paths, self._names, strict=True)]
        _check_alike(self._paths, shapes)
        self._lengths = [shape.shape[0] for shape in shapes]
        self.length, self.width = sum(self._lengths), shapes[0].shape[1]
        wide = any(shape.dtype == torch.float64 for shape in shapes)
        self.dtype = torch.float64 if wide else torch.float32

    @property
    def has_ids(self) -> bool:
        """Whether rows have ids."""
        return self._ids[0] is not None

    @property
    def named(self) -> bool:
        """Whether rows have ids that are texts."""
        return self._ids[0] is not None and next(self.ids()).dtype.kind == "U"

    def pieces(self) -> Iterator[Piece]:
        """Yield all rows, file after file."""
        for path, name in zip(self._paths, self._names, strict=True):
            yield from pieces_of(path, name)

    def files(self) -> list[FileRows]:
        """Return each file as a source of its own, whose blocks have the dtype of all."""
        found: list[FileRows] = [copy(self) for _ in self._paths]
        for number, file in enumerate(found):
            part = slice(number, number + 1)
            file._paths, file._names = (self._paths[number].absolute(),), self._names[part]
            file._ids, file._labels, file._lengths = self._ids[part], self._labels[part], self._lengths[part]
            file.length = self._lengths[number]
        return found

    def ids(self) -> Iterator[Ids]:
        """Yield the ids, file after file, or the numbers of the rows."""
        for path, name in zip(self._paths, self._ids, strict=True):
            if name is None:
                yield np.arange(self.length)
                return
            yield from ids_in(path, name)

    def labels(self) -> NDArray[Any] | None:
        """Return the labels ``(N,)``."""
        found = [labels_in(path, name) for path, name in zip(self._paths, self._labels, strict=True) if name]
        return np.concatenate(found) if found else None


class CorpusRows:
    """Read one part of a folder that `monocon predict` wrote as a stream, a `RowSource`.

    Args:
        shards: The folder.
        part: ``"gallery"``, ``"query"`` or ``"rows"``.

    Raises:
        ValueError: If there is no such part, or its first shard is damaged.
    """

    dtype = torch.float32
    has_ids = True  # at least positions in the data set, which several processes write in another order

    def __init__(self, shards: Shards, part: str) -> None:
        self._shards, self._part = shards, part
        self.space = shards.space
        self.length, self.width = shards.shape(part)

    @property
    def named(self) -> bool:
        """Whether the data set gave ids that are texts."""
        return next(self.ids()).dtype.kind == "U"

    def pieces(self) -> Iterator[Piece]:
        """Yield all rows, shard after shard; each is checked against its checksum."""
        files = (entry.file for entry in self._shards.entries if entry.part == self._part)
        for file, rows in zip(files, self._shards.stream(self._part), strict=True):
            for start in range(0, len(rows.ids), BLOCK):
                yield Piece(file, start, torch.from_numpy(rows.embeddings[start : start + BLOCK].copy()))

    def ids(self) -> Iterator[Ids]:
        """Yield the ids, shard after shard."""
        return (rows.ids for rows in self._shards.stream(self._part, verify=False))

    def labels(self) -> NDArray[Any] | None:
        """Return the labels ``(N,)``."""
        found = [rows.labels for rows in self._shards.stream(self._part, verify=False)]
        there = [labels for labels in found if labels is not None]
        return np.concatenate(there) if len(there) == len(found) else None


def files_of(place: str | Path) -> list[Path] | None:
    """Return the Parquet or safetensors files of a folder or glob, by name; None if it is neither.

    Raises:
        FileNotFoundError: If a glob matches nothing.
        ValueError: If a folder has no such files, or files of both kinds.
    """
    path = Path(place)
    if path.is_dir():
        check_has_vectors(path)
        found = sorted(file for file in path.iterdir() if file.suffix in STREAMED and not file.name.startswith("."))
    elif has_magic(str(place)) and not path.exists():
        found = sorted(map(Path, glob(str(place))))
        if not found:
            raise FileNotFoundError(f"`files` must match a file; none is called {str(place)!r}.")
    else:
        return None
    if len(kinds := {file.suffix for file in found}) != 1 or not kinds <= set(STREAMED):
        named = f"name those that are meant, such as '{path.name}/*{STREAMED[0]}'"
        remedy = named if kinds & {*STREAMED} else "write the rows to such files"
        raise ValueError(
            f"`files` must be a folder or glob of {' or of '.join(STREAMED)} files alone; {str(place)!r} has "
            f"{', '.join(sorted(kinds)) or 'none'}: {remedy}."
        )
    return found


def check_has_vectors(folder: Path) -> None:
    """Check that a folder has vectors: one in BEIR's layout has texts and judgements, one of `monocon shrink` codes.

    Raises:
        ValueError: If it has none.
    """
    if any((folder / f"corpus.jsonl{ending}").is_file() for ending in ("", ".gz")):
        raise ValueError(
            f"`files` must hold vectors; {str(folder)!r} is a folder in BEIR's layout, which holds texts and "
            "judgements. Embed its corpus and its queries with a model (docs/scorecard.md shows how), then give the "
            f"two files of vectors and --qrels {folder}."
        )
    if (folder / "codec.json").is_file():
        report = f", whose report is {folder / 'shrink.html'}" if (folder / "shrink.html").is_file() else ""
        raise ValueError(
            f"`files` must hold vectors; {str(folder)!r} holds codes{report}. To judge codes by other queries, write "
            "`decode(codes)` and `queries(vectors)` of the folder's codec_numpy.py into two .npy files, and score "
            "these with the vectors as --baseline."
        )


def _filled(paths: Sequence[Path]) -> tuple[Path, ...]:
    found = tuple(path for path in paths if has_rows(path))
    check_filled(paths, len(found))
    return found


def _needed(path: Path, names: tuple[str, ...], are_ids: bool = False) -> str:
    name = chosen_name(path, names)
    if name is None:
        raise lacking(path, " or ".join(names), array_names(path), are_ids)
    return name


def _check_alike(paths: Sequence[Path], shapes: Sequence[Shape]) -> None:
    """Check that files have one width, and do not say that they are of several models."""
    for path, shape in zip(paths, shapes, strict=True):
        if shape.shape[1] != shapes[0].shape[1]:
            raise ValueError(
                f"`files` must hold rows of one width; {paths[0]} has {shapes[0].shape[1]} numbers a row and {path} "
                f"has {shape.shape[1]}. Embed all with one model."
            )
        if shape.stamp != shapes[0].stamp:
            raise ValueError(
                f"`files` must come from one model; {paths[0]} is stamped {shapes[0].stamp[:12] or 'with none'} and "
                f"{path} {shape.stamp[:12] or 'with none'}. Embed all with one model."
            )
