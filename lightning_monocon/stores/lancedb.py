# SPDX-License-Identifier: Apache-2.0
"""Keep codes in LanceDB: columns of float16, and of bytes that it ranks by Hamming distance, written in one version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import lancedb
import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lightning_monocon.stores.arrow import codes_of_arrow, lists_as_arrow
from lightning_monocon.stores.columns import Column, Kind
from lightning_monocon.stores.store import Rows, Stamp, as_ids
from lightning_monocon.stores.unique import Unique

_KEY = b"monocon"  # of the stamp, in the metadata of the schema


class LancedbStore:
    """Hold codes in a table of a LanceDB folder.

    A column of int8 is stored and cannot be searched, so int8 codes are refused. Every search reads all codes: the
    indexes of LanceDB would quantise float16 again. The order of equal distances is LanceDB's own; answers come in the
    order of the codec's scores, then of ids. A row of zeros has no cosine distance and is never found.

    Args:
        path: The folder; `create` makes it if it is missing.
        name: The table.

    Raises:
        FileNotFoundError: If the folder that it lies in is missing.
        ValueError: If the path is a file.
    """

    title: ClassVar[str] = "LanceDB"
    kinds: ClassVar[Sequence[Kind]] = ("half", "bit")
    named: ClassVar[bool] = True
    ranks_exactly = True

    def __init__(self, path: str | Path, name: str) -> None:
        self._path, self._name = Path(path), name
        if not self._path.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"`--into` must lie in a folder that exists; {self._path.parent} does not: make it."
            )
        if self._path.is_file():
            raise ValueError(f"`--into` must be a folder for LanceDB; {self._path} is a file: name another place.")
        self._database: Any = self._connected() if self._path.exists() else None  # it makes the folder
        self._table: Any = None
        self._open()

    def stamp(self) -> Stamp | None:
        """Return the stamp, which lies in the metadata of the schema; None if the name is free."""
        if self._table is None:
            return None
        text = (self._table.schema.metadata or {}).get(_KEY)
        return Stamp.from_plain(json.loads(text) if text else None, f"the table {self._name} in {self._path}")

    def create(self, column: Column, stamp: Stamp, blocks: Iterator[Rows], index: bool) -> None:
        """Write all rows as the first version of the table, with the stamp; there is no index to build."""
        schema, new = _schema(column, stamp), not self._path.exists()
        rows = Unique(blocks, f"the table {self._name} in {self._path}")
        self._database = self._connected()
        try:
            self._table = self._database.create_table(self._name, _reader(rows, schema))
        except BaseException as error:
            if not self._open():  # what was written before it failed, and not another's table
                self._database.drop_table(self._name, ignore_missing=True)
            if new and not any(self._path.iterdir()):
                self._path.rmdir()
                self._database = None
            raise rows.fault or error from None

    def append(self, column: Column, blocks: Iterator[Rows]) -> None:
        """Write further rows as one version.

        LanceDB takes an id that is there already, so writers hold the lock ``.NAME.lock`` while they look for it.

        Raises:
            ConnectionError: If another process holds it.
        """
        rows = Unique(blocks, f"the table {self._name} in {self._path}", self._known)
        with self._changing():
            try:
                self._table.add(_reader(rows, self._table.schema))
            except BaseException as error:
                raise rows.fault or error from None

    def delete(self, ids: NDArray[Any]) -> int:
        """Delete rows by their ids; LanceDB keeps earlier versions until its ``optimize`` clears them away."""
        return int(self._table.delete(_among(ids)).num_deleted_rows)

    def drop(self) -> None:
        """Delete the table."""
        self._database.drop_table(self._name)
        self._table = None

    def search(self, column: Column, asked: np.ndarray, count: int, exact: bool) -> list[NDArray[Any]]:
        """Return the ids of the nearest rows; every search is exact unless you build an index."""
        query = self._table.search(asked, vector_column_name="code").distance_type(column.metric).limit(count)
        if exact:
            query = query.bypass_vector_index()
        rows = query.select(["id", "_distance"]).to_arrow()
        ids = as_ids(rows["id"].to_pylist(), self._text_ids)
        # the answers to one query alone are not numbered
        asking = rows["query_index"].to_numpy() if len(asked) > 1 else np.zeros(len(ids), np.int64)
        order = np.lexsort((ids, rows["_distance"].to_numpy(), asking))
        return np.split(ids[order], np.searchsorted(asking[order], np.arange(1, len(asked))))

    def fetch(self, column: Column, ids: NDArray[Any]) -> np.ndarray:
        """Return what is stored for ids, in their order."""
        rows = self._table.search().where(_among(ids)).limit(len(ids)).select(["id", "code"]).to_arrow()
        places = {one: place for place, one in enumerate(rows["id"].to_pylist())}
        return codes_of_arrow(rows["code"])[[places[one] for one in ids.tolist()]]

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._table.count_rows())

    def bytes(self) -> int:
        """Return the bytes that LanceDB counts for the rows of the newest version."""
        return int(self._table.stats()["total_bytes"])

    def close(self) -> None:
        """Give the table back."""
        self._table = None

    @property
    def _text_ids(self) -> bool:
        stamp = self.stamp()
        return stamp is not None and stamp.ids == "text"

    def _connected(self) -> lancedb.DBConnection:
        # without an interval of zero a table stays as it was when it was opened, whatever others write
        return lancedb.connect(str(self._path), read_consistency_interval=timedelta(0))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with FileLock(self._path / f".{self._name}.lock").acquire(timeout=0):
                yield
        except Timeout:
            raise ConnectionError(
                f"`--into` must be a table that no other process appends to; {self._name} in {self._path} is being "
                "written: try again when that has ended."
            ) from None

    def _open(self) -> bool:
        """Open the table; return False if there is none, or only what a killed process left."""
        if self._database is None:
            return False
        try:
            self._table = self._database.open_table(self._name)
        except ValueError:
            return False
        return True

    def _known(self, ids: NDArray[Any]) -> list[Any]:
        rows = self._table.search().where(_among(ids)).limit(len(ids)).select(["id"]).to_arrow()
        known: list[Any] = rows["id"].to_pylist()
        return known


def _schema(column: Column, stamp: Stamp) -> pa.Schema:
    kind = pa.uint8() if column.kind == "bit" else pa.float16()
    width = column.codec.bytes_per_vector if column.kind == "bit" else column.width
    fields = [
        pa.field("id", pa.string() if stamp.ids == "text" else pa.int64(), nullable=False),
        pa.field("code", pa.list_(kind, width), nullable=False),
    ]
    return pa.schema(fields, metadata={_KEY: json.dumps(stamp.as_plain())})


def _reader(rows: Iterator[Rows], schema: pa.Schema) -> pa.RecordBatchReader:
    batches = (pa.record_batch([pa.array(ids), lists_as_arrow(stored)], schema=schema) for ids, stored in rows)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _among(ids: NDArray[Any]) -> str:
    """Return the condition that a row has one of the ids."""
    if ids.dtype.kind == "U":
        return "id IN (" + ", ".join("'" + one.replace("'", "''") + "'" for one in ids.tolist()) + ")"
    return f"id IN ({', '.join(map(str, ids.tolist()))})"
