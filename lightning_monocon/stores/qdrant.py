# SPDX-License-Identifier: Apache-2.0
"""Keep codes in Qdrant's engine in process (Qdrant Edge): float16 vectors in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from lightning_monocon.stores.columns import Column, Kind
from lightning_monocon.stores.store import Rows, Stamp, as_ids
from lightning_monocon.stores.unique import Unique

_VECTOR = "code"
_SPACE = uuid5(NAMESPACE_URL, "lightning-monocon")  # the names of points are made from it
_STAMP = str(uuid5(_SPACE, "stamp"))  # of the point without a vector that has the stamp as payload


class QdrantStore:
    """Hold codes as points of a shard, whose folder is the name within the folder of the address.

    Only float16 is ranked rightly. Uint8 vectors are unsigned, and queries of them are rounded and cut off below zero;
    bits and int8 exist only as Qdrant's own quantisation of stored floats. For cosines the engine brings rows to length
    1 when they arrive and rounds them once more: a row that comes back has the direction of the code and not its
    length. A row of zeros stays one and scores 0. Ids that are text are kept as payload; their points are named by
    UUIDs made from them. Equal scores come in the order of ids.

    Args:
        path: The folder; it is made if it is missing.
        name: The shard in it.

    Raises:
        ConnectionError: If another process, or another store here, has the shard open.
        FileNotFoundError: If the folder that it lies in is missing.
        ValueError: If the engine cannot read the shard.
    """

    title: ClassVar[str] = "Qdrant"
    kinds: ClassVar[Sequence[Kind]] = ("half",)
    named: ClassVar[bool] = True
    ranks_exactly = True

    def __init__(self, path: str | Path, name: str) -> None:
        self._folder = Path(path)
        if not self._folder.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"`--into` must lie in a folder that exists; {self._folder.parent} does not: make it."
            )
        self._path = self._folder / name
        self._shard: edge.EdgeShard | None = self._opened() if (self._path / "edge_config.json").is_file() else None

    def stamp(self) -> Stamp | None:
        """Return the stamp, which is the payload of a point without a vector; None if the name is free."""
        place = f"the folder {self._path}"
        if self._shard is None:
            return Stamp.from_plain(None, place) if self._path.exists() else None
        found = self._shard.retrieve([_STAMP], True, False)
        return Stamp.from_plain(found[0].payload if found else None, place)

    def create(self, column: Column, stamp: Stamp, blocks: Iterator[Rows], index: bool) -> None:
        """Write all rows and the stamp into a folder beside it, which gets the name when it is complete.

        The graph index is Qdrant's own: it builds one where the vectors pass its threshold (by default 20 MB).
        """
        whole = self._path.with_name(f".{self._path.name}.partial")
        shutil.rmtree(whole, ignore_errors=True)  # of a process that was killed
        new = not self._folder.exists()
        whole.mkdir(parents=True)
        try:
            shard = edge.EdgeShard.create(str(whole), _config(column))
            for rows in Unique(blocks, f"the folder {self._path}"):
                shard.update(_insertion(rows))
            shard.update(edge.UpdateOperation.upsert_points([edge.Point(_STAMP, {}, stamp.as_plain())]))
            if index:
                shard.optimize()
            shard.close()
            whole.rename(self._path)
        except BaseException:
            shutil.rmtree(whole, ignore_errors=True)
            if new:
                self._folder.rmdir()
            raise
        self._shard = self._opened()

    def append(self, column: Column, blocks: Iterator[Rows]) -> None:
        """Write further rows in one operation, which the engine's log holds as a whole."""
        parts = list(Unique(blocks, f"the folder {self._path}", self._known))
        points = [point for rows in parts for point in _points(rows)]
        self._written().update(edge.UpdateOperation.upsert_points(points))
        self._written().flush()

    def delete(self, ids: NDArray[Any]) -> int:
        """Delete rows by their ids."""
        before = self.count()
        self._written().update(edge.UpdateOperation.delete_points(_names(ids)))
        self._written().flush()
        return before - self.count()

    def drop(self) -> None:
        """Delete the shard."""
        self.close()
        shutil.rmtree(self._path)

    def search(self, column: Column, asked: np.ndarray, count: int, exact: bool) -> list[NDArray[Any]]:
        """Return the ids of the nearest rows."""
        shard, text, found = self._written(), self._text_ids, []
        parameters = edge.SearchParams(exact=exact)
        for one in asked:
            nearest = edge.Query.Nearest(one.tolist(), using=_VECTOR)
            request = edge.SearchRequest(query=nearest, limit=count, params=parameters, with_payload=text)
            points = shard.search(request)
            ids = as_ids([(point.payload or {})["id"] if text else point.id for point in points], text)
            scores = np.array([point.score for point in points])
            found.append(ids[np.lexsort((ids, -scores))])
        return found

    def fetch(self, column: Column, ids: NDArray[Any]) -> np.ndarray:
        """Return what is stored for ids, in their order: for cosines at length 1."""
        names = _names(ids)
        rows = self._written().retrieve(names, False, True)
        found = {str(one.id): cast("dict[str, Any]", one.vector)[_VECTOR] for one in rows}
        return np.array([found[str(name)] for name in names], np.float16)

    def count(self) -> int:
        """Return the number of rows, without the point of the stamp."""
        return int(self._written().count(edge.CountRequest())) - 1

    def bytes(self) -> int:
        """Return the bytes that the shard takes on the disk, the engine's log included."""
        self._written().flush()
        return sum(512 * one.stat().st_blocks for one in self._path.rglob("*") if one.is_file())

    def close(self) -> None:
        """Close the shard."""
        if self._shard is not None:
            self._shard.close()
        self._shard = None

    @property
    def _text_ids(self) -> bool:
        stamp = self.stamp()
        return stamp is not None and stamp.ids == "text"

    def _opened(self) -> edge.EdgeShard:
        try:
            return edge.EdgeShard.load(str(self._path))
        except Exception as error:  # the engine has no class of its own
            if "WouldBlock" in str(error):
                raise ConnectionError(
                    f"`--into` must be a shard that no other process has open; {self._path} is in use: close it there."
                ) from None
            raise ValueError(f"`--into` must be a shard of Qdrant; {self._path} is not: {error}") from None

    def _written(self) -> edge.EdgeShard:
        assert self._shard is not None  # `Collection` has seen its stamp
        return self._shard

    def _known(self, ids: NDArray[Any]) -> list[Any]:
        return list(self._written().retrieve(_names(ids), False, False))


def _config(column: Column) -> edge.EdgeConfig:
    distance = edge.Distance.Cosine if column.metric == "cosine" else edge.Distance.Dot
    half = edge.VectorStorageDatatype.Float16
    return edge.EdgeConfig(vectors={_VECTOR: edge.EdgeVectorParams(column.width, distance, datatype=half)})


def _insertion(rows: Rows) -> edge.UpdateOperation:
    return edge.UpdateOperation.upsert_points(_points(rows))


def _points(rows: Rows) -> list[edge.Point]:
    """Return rows as points; text ids are payload.

    Raises:
        ValueError: If an id is below zero.
    """
    text = rows.ids.dtype.kind == "U"
    vectors = rows.stored.astype(np.float32).tolist()
    return [
        edge.Point(name, {_VECTOR: vector}, {"id": one} if text else None)
        for name, one, vector in zip(_names(rows.ids), rows.ids.tolist(), vectors, strict=True)
    ]


def _names(ids: NDArray[Any]) -> list[Any]:
    """Return the names of points: ids that are numbers from 0, and UUIDs made from text."""
    if ids.dtype.kind == "U":
        return [str(uuid5(_SPACE, f"id {one}")) for one in ids.tolist()]
    if len(ids) and ids.min() < 0:
        raise ValueError(f"`OUT` must hold ids from 0, or text, for Qdrant; got {ids.min()}: give them as text.")
    return list(ids.tolist())
