# SPDX-License-Identifier: Apache-2.0
"""Keep codes in one file of an index library, which is replaced as a whole, with the stamp in a file beside it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lightning_monocon.runs.files import whole, write_text
from lightning_monocon.stores.columns import Column, Kind
from lightning_monocon.stores.numbering import Numbering
from lightning_monocon.stores.store import Rows, Stamp

Index = TypeVar("Index")
"""Index of a library."""


class IndexFile(ABC, Generic[Index]):
    """Hold codes in an index file ``FILE``, the stamp in ``FILE.json``, and ids that are text in ``FILE.ids.json``.

    The index is read whole; a change writes a new file, which then takes the place of the old one. A process that
    changes it holds a lock, ``.FILE.lock``, so that of two changes at a time the second is refused.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If its folder is missing.
    """

    title: ClassVar[str]
    kinds: ClassVar[Sequence[Kind]] = ("half", "bit")
    named: ClassVar[bool] = False
    ranks_exactly = True

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._index: Index | None = None
        self._numbering: Numbering = self._numbers(text=False)
        self._version: tuple[int, int] | None = None
        self._stamp_path = self._path.with_name(f"{self._path.name}.json")
        if not self._path.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"`--into` must lie in a folder that exists; {self._path.parent} does not: make it."
            )

    def stamp(self) -> Stamp | None:
        """Return the stamp; None if there is no index file."""
        if not self._path.exists():
            return None
        try:
            values = json.loads(self._stamp_path.read_text("utf-8"))
        except (OSError, ValueError):
            values = None
        return Stamp.from_plain(values, f"the file {self._path}")

    def create(self, column: Column, stamp: Stamp, blocks: Iterator[Rows], index: bool) -> None:
        """Write the stamp and then the index: a stamp alone counts as nothing."""
        with self._changing():
            if self._path.exists():
                raise ValueError(f"`--into` must be free; another process has written {self._path} just now.")
            self._numbering = self._numbers(stamp.ids == "text", new=True)
            written = self._filled(self._new(column), column, blocks)
            write_text(self._stamp_path, json.dumps(stamp.as_plain()) + "\n")
            self._numbering.keep()
            self._write(written)

    def append(self, column: Column, blocks: Iterator[Rows]) -> None:
        """Write a file with further rows."""
        with self._changing():
            written = self._filled(self._read(), column, blocks)
            self._numbering.keep()  # before the index, none of whose rows may lack an id
            self._write(written)

    def delete(self, ids: NDArray[Any]) -> int:
        """Write a file without some rows."""
        with self._changing():
            index = self._read()
            asked = self._numbering.known(ids)
            known = asked[np.isin(asked, self._ids(index))]
            self._remove(index, known)
            self._write(index)
            self._numbering.keep(self._ids(index))
        return len(known)

    def search(self, column: Column, asked: np.ndarray, count: int, exact: bool) -> list[NDArray[Any]]:
        """Return the ids of the nearest rows."""
        count = min(count, self.count())
        nothing = [np.empty(0, np.int64)] * len(asked)
        found = self._search(self._loaded, column, asked, count, exact) if count else nothing
        return [self._numbering.ids(numbers) for numbers in found]

    def fetch(self, column: Column, ids: NDArray[Any]) -> np.ndarray:
        """Return what is stored for ids, in their order.

        Raises:
            ConnectionError: If one is gone.
        """
        index = self._loaded
        numbers = self._numbering.known(ids)
        try:
            if len(numbers) == len(ids):
                return self._fetch(index, column, numbers)
        except (KeyError, RuntimeError):
            pass
        raise ConnectionError(
            f"`--into` must be a file that no other process changes; {self._path} lost rows that were just found: ask "
            "again."
        )

    def count(self) -> int:
        """Return the number of rows."""
        return len(self._ids(self._loaded))

    def bytes(self) -> int:
        """Return the bytes of all files."""
        return self._path.stat().st_size + self._stamp_path.stat().st_size + self._numbering.bytes()

    def close(self) -> None:
        """Forget the index."""
        self._index = None

    @property
    def _loaded(self) -> Index:
        """The index, read again if another process has replaced the file."""
        version = self._file()
        if self._index is None or version != self._version:
            self._index, self._version = self._read(), version
        return self._index

    def _file(self) -> tuple[int, int]:
        """Return what tells a file from the one that replaces it."""
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep other processes from changing the file.

        Raises:
            ConnectionError: If another process changes it.
        """
        try:
            with FileLock(self._path.with_name(f".{self._path.name}.lock")).acquire(timeout=0):
                yield
        except Timeout:
            raise ConnectionError(
                f"`--into` must be a file that no other process changes; {self._path} is being written: try again when "
                "that has ended."
            ) from None

    def _filled(self, index: Index, column: Column, blocks: Iterator[Rows]) -> Index:
        seen = self._ids(index)
        for ids, stored in blocks:
            _, counts = np.unique(ids, return_counts=True)
            numbers = self._numbering.numbered(ids)
            taken = ids[np.isin(numbers, seen)].tolist()
            if taken or counts.max() > 1:
                which = f" as {taken[0]}" if taken else ""
                raise ValueError(
                    f"`OUT` must hold ids that the store has not; {self._path} would have one{which} twice. Delete "
                    "those rows first."
                )
            seen = np.concatenate([seen, numbers])
            self._add(index, column, numbers, stored)
        return index

    def _write(self, index: Index) -> None:
        with whole(self._path) as temporary:
            self._save(index, temporary)
        self._index, self._version = index, self._file()

    def _read(self) -> Index:
        """Return the index, and read the ids that are text; again if another process changes them meanwhile."""
        while True:
            version, stamp = self._file(), self.stamp()
            assert stamp is not None
            index = self._opened(stamp.kind)
            self._numbering = self._numbers(stamp.ids == "text")
            if self._numbering.covers(self._ids(index)):
                return index
            if self._file() == version:
                raise ValueError(
                    f"`--into` must be an index file as it was written; {self._path} has rows without an id in the "
                    "file beside it: write both again."
                )

    def _opened(self, kind: Kind) -> Index:
        try:
            return self._open(self._path, kind)
        except (RuntimeError, ValueError, OSError) as error:
            raise ValueError(
                f"`--into` must be an index file as it was written; {self.title} says of {self._path}: "
                f"{str(error).splitlines()[0]}"
            ) from None

    def _numbers(self, text: bool, new: bool = False) -> Numbering:
        return Numbering(self._path.with_name(f"{self._path.name}.ids.json"), text, new)

    @abstractmethod
    def _new(self, column: Column) -> Index: ...

    @abstractmethod
    def _open(self, path: Path, kind: Kind) -> Index: ...

    @abstractmethod
    def _save(self, index: Index, path: Path) -> None: ...

    @abstractmethod
    def _ids(self, index: Index) -> NDArray[np.int64]: ...

    @abstractmethod
    def _add(self, index: Index, column: Column, ids: NDArray[np.int64], stored: np.ndarray) -> None: ...

    @abstractmethod
    def _remove(self, index: Index, ids: NDArray[np.int64]) -> None: ...

    @abstractmethod
    def _search(
        self, index: Index, column: Column, asked: np.ndarray, count: int, exact: bool
    ) -> Iterator[NDArray[np.int64]]: ...

    @abstractmethod
    def _fetch(self, index: Index, column: Column, ids: NDArray[np.int64]) -> np.ndarray:
        """Return what is stored; raise KeyError or RuntimeError if an id is gone."""
        ...
