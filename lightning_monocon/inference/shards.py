# SPDX-License-Identifier: Apache-2.0
"""Write an embedded corpus as a folder of shards, piece by piece, resume it after a kill, and read it as a stream.

The folder holds ``space.json`` (model, number of ranks, layout), the shards, and one index for each rank,
``index-<rank>.jsonl``: a line for each finished shard with its rows and checksum, and a last line when the rank is
done. A line is written after its shard is whole on the disk, so everything that an index names can be read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from torch import Tensor, nn

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.inference.space import FORMAT, READABLE, Kind, Space, space_differences
from lightning_monocon.runs import files
from lightning_monocon.runs.digest import hash_tensors
from lightning_monocon.runs.scratch import unwritable

__all__ = ["FORMAT", "Entry", "Ids", "Kind", "Rows", "ShardFolder", "Shards", "Space", "model_stamp"]

Ids: TypeAlias = "NDArray[np.int64] | NDArray[np.str_]"

_SPACE = "space.json"


class Rows(NamedTuple):
    """Hold embedded rows."""

    ids: Ids
    """Names of the rows ``(N,)``: positions in the data set, or its own ids."""
    embeddings: NDArray[np.float32]
    """Embeddings ``(N, D)``."""
    labels: NDArray[np.int64] | None
    """Labels ``(N,)``, if the data set has any."""


class Entry(NamedTuple):
    """Describe one finished shard."""

    file: str
    part: str
    rows: int
    sha256: str


def model_stamp(model: nn.Module) -> str:
    """Return a digest of the parameters and buffers of a model: equal for equal weights on any device."""
    return hash_tensors({name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)})


class ShardFolder:
    """Write the share of one rank to a folder of shards.

    Args:
        path: The folder; created if missing.
        space: What its shards have in common.
        rank: Rank of this process.

    Raises:
        ValueError: If the folder holds shards of another model, layout or number of ranks.
        RuntimeError: If another process writes the share of this rank.
        OSError: If the folder cannot be created.
    """

    def __init__(self, path: Path, space: Space, rank: int = 0) -> None:
        self.path, self.space, self.rank = path, space, rank
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable("out", path, error) from error

        self._lock = FileLock(path / f".{rank:05d}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RuntimeError(f"`out` must not be in use; {str(path)!r} is being written. Choose another.") from None
        # every writer of these files holds the lock of this rank
        files.remove_leftovers(path, rf".+-{rank:05d}-\d{{5}}\.\w+|index-{rank:05d}\.jsonl")
        self._agree()

        written = _entries(self._index)
        # the place to resume at is the number of rows, so shards behind a damaged one are written again too
        self.entries = list(takewhile(lambda entry: not _damage(path, entry), written))
        self.done = _is_done(self._index) and len(self.entries) == len(written)
        """Whether this rank has written everything."""
        self._write_index()

    def finished(self, part: str) -> int:
        """Return how many rows of a part are on the disk."""
        return sum(entry.rows for entry in self.entries if entry.part == part)

    def append(self, part: str, rows: Rows) -> None:
        """Write one shard, then its line in the index."""
        count = sum(entry.part == part for entry in self.entries)
        file = f"{part}-{self.rank:05d}-{count:05d}.{self.space.kind}"
        data = _encode(rows, self.space)
        files.write(self.path / file, data)
        self.entries.append(Entry(file, part, len(rows.ids), hashlib.sha256(data).hexdigest()))
        self._write_index()

    def close(self, done: bool) -> None:
        """Release the folder, and record in the index whether everything is written."""
        self.done |= done
        self._write_index()
        self._lock.release()

    @property
    def _index(self) -> Path:
        return self.path / f"index-{self.rank:05d}.jsonl"

    def _write_index(self) -> None:
        lines = [json.dumps(entry._asdict()) for entry in self.entries]
        lines += ['{"done": true}'] if self.done else []
        files.write(self._index, "".join(line + "\n" for line in lines).encode())

    def _agree(self) -> None:
        with FileLock(self.path / ".space.lock"):  # the ranks start at the same time
            file = self.path / _SPACE
            files.remove_leftovers(self.path, re.escape(_SPACE))
            if not file.exists():
                files.write(file, json.dumps(asdict(self.space), indent=1).encode())
            stored = json.loads(file.read_text(encoding="utf-8"))
        wrong = space_differences(stored, asdict(self.space))
        if wrong:
            raise ValueError(
                "`out` must be a new folder or hold shards of the same model, data, precision, layout and number of "
                f"ranks; {str(self.path)!r} has {'; '.join(wrong)}. Choose another folder."
            )


class Shards:
    """Read a finished folder of shards as a stream.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If there is no such folder of shards.
        ValueError: If it is of another layout, or not finished.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        file = self.path / _SPACE
        if not file.is_file():
            raise FileNotFoundError(
                f"`path` must be a folder of shards written by `monocon predict`; got {str(path)!r}."
            )

        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored.get("format") not in READABLE:
            raise ValueError(f"`path` must have the layout {FORMAT!r}; {str(path)!r} has {stored.get('format')!r}.")
        self.space = Space(**stored)

        indexes = [self.path / f"index-{rank:05d}.jsonl" for rank in range(self.space.ranks)]
        missing = [rank for rank, index in enumerate(indexes) if not _is_done(index)]
        if missing:
            raise ValueError(
                f"`path` must be finished; {str(path)!r} lacks rows of rank {', '.join(map(str, missing))}. Run the "
                "same `monocon predict` again to resume it."
            )
        self.entries = [entry for index in indexes for entry in _entries(index)]

    @property
    def parts(self) -> list[str]:
        """Return the names of the parts: ``gallery`` and ``query``, or ``rows``."""
        return sorted({entry.part for entry in self.entries})

    def __len__(self) -> int:
        """Return the number of rows of all parts."""
        return sum(entry.rows for entry in self.entries)

    def shape(self, part: str) -> tuple[int, int]:
        """Return how many rows a part has and how many numbers a row has; the first shard is read and checked."""
        width = next(self.stream(part)).embeddings.shape[1]
        return sum(entry.rows for entry in self.entries if entry.part == part), width

    def stream(self, part: str, verify: bool = True) -> Iterator[Rows]:
        """Yield the rows of a part, a shard at a time, rank by rank.

        Args:
            part: One of `parts`.
            verify: Whether to check the checksum of each file before its rows are yielded.

        Raises:
            ValueError: If there is no such part, or a shard is damaged.
        """
        check_choice("part", part, self.parts)
        for entry in self.entries:
            if entry.part != part:
                continue
            if verify and (damage := _damage(self.path, entry)):
                raise ValueError(f"`path` must hold whole shards; {damage}. Remove it and run `monocon predict` again.")
            yield _decode(self.path / entry.file, self.space.kind)

    def read(self, part: str) -> Rows:
        """Return a whole part: in the order in which one process wrote it, or by its ids if several took turns."""
        pieces = list(self.stream(part))
        ids: Any = np.concatenate([piece.ids for piece in pieces])
        order = np.argsort(ids, kind="stable") if self.space.ranks > 1 else np.arange(len(ids))
        labels = [piece.labels for piece in pieces if piece.labels is not None]
        return Rows(
            ids[order],
            np.concatenate([piece.embeddings for piece in pieces])[order],
            np.concatenate(labels)[order] if len(labels) == len(pieces) else None,
        )


def _encode(rows: Rows, space: Space) -> bytes:
    if space.kind == "parquet":
        return _encode_parquet(rows, space)
    if rows.ids.dtype.kind != "i":
        raise ValueError(
            f"`kind` must be 'parquet' for ids that are not integers; got 'safetensors' and ids like {rows.ids[0]!r}."
        )
    parts = {"ids": rows.ids, "embeddings": rows.embeddings, "labels": rows.labels}
    # safetensors 0.8.0 writes the first numbers in memory of an array with strides, whatever the array shows
    tensors = {name: np.ascontiguousarray(part) for name, part in parts.items() if part is not None}
    return save(tensors, metadata={"format": space.format, "model": space.model})


def _encode_parquet(rows: Rows, space: Space) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    width = rows.embeddings.shape[1]
    flat = pa.array(np.ascontiguousarray(rows.embeddings).reshape(-1))
    columns = {"id": pa.array(rows.ids), "embedding": pa.FixedSizeListArray.from_arrays(flat, width)}
    if rows.labels is not None:
        columns["label"] = pa.array(rows.labels)
    table = pa.table(columns).replace_schema_metadata({"format": space.format, "model": space.model})
    buffer = io.BytesIO()
    # floats of an embedding have no pattern: a dictionary or a codec costs time and saves nothing
    pq.write_table(table, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


def _decode(path: Path, kind: Kind) -> Rows:
    if kind == "safetensors":
        tensors = load_file(path)
        return Rows(tensors["ids"], tensors["embeddings"], tensors.get("labels"))
    import pyarrow.parquet as pq

    table = pq.read_table(path, memory_map=True).combine_chunks()
    column = table.column("embedding").combine_chunks()
    width = column.type.list_size
    embeddings = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    labels = table.column("label").to_numpy() if "label" in table.column_names else None
    ids = table.column("id").to_numpy()
    return Rows(ids if ids.dtype.kind == "i" else ids.astype(np.str_), embeddings, labels)


def _entries(index: Path) -> list[Entry]:
    return [Entry(**line) for line in _lines(index) if "file" in line]


def _is_done(index: Path) -> bool:
    return any("done" in line for line in _lines(index))


def _lines(index: Path) -> list[dict[str, Any]]:
    if not index.is_file():
        return []
    return [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]


def _damage(folder: Path, entry: Entry) -> str | None:
    path = folder / entry.file
    if not path.is_file():
        return f"{entry.file} is missing"
    if files.digests(path) != {entry.sha256}:
        return f"{entry.file} does not have the sha256 of its index"
    return files.damage(path)
