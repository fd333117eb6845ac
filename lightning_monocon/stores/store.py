# SPDX-License-Identifier: Apache-2.0
"""Say what a store does for this package: hold one column of codes with ids and a stamp, and rank it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.stores.columns import Column, Kind

BLOCK = 8192
"""Rows that are sent to a store at a time."""


@dataclass(frozen=True)
class Stamp:
    """Hold what lies beside the vectors and names their space.

    Attributes:
        codec: SHA-256 of the codec.
        name: Its name, such as ``"scalar1-32"``.
        kind: What the column holds.
        width: Numbers, or bits, of a row.
        ids: ``"int"`` or ``"text"``.
        layout: Layout of this package's tables.
    """

    codec: str
    name: str
    kind: Kind
    width: int
    ids: str
    layout: int = 1

    def as_plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def of(cls, codec: str, column: Column, ids: NDArray[Any]) -> Stamp:
        """Return the stamp of a column and its ids."""
        return cls(codec, column.codec.name, column.kind, column.width, "text" if ids.dtype.kind == "U" else "int")

    @classmethod
    def from_plain(cls, values: object, place: str) -> Stamp:
        """Return the stamp of plain values that a store held.

        Raises:
            ValueError: If this package did not write them, or a later version did.
        """
        if not isinstance(values, dict) or "codec" not in values:
            raise ValueError(f"`--into` must name a new place, or one that this package wrote; {place} is another's.")
        if values.get("layout") != 1:
            raise ValueError(
                f"`--into` must have layout 1; {place} has layout {values.get('layout')}: install a newer version."
            )
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


class Rows(NamedTuple):
    """Hold a block of rows for a store.

    Attributes:
        ids: ``(n,)`` int64 or text.
        stored: ``(n, width)`` float16 or int8, or bytes of bits.
    """

    ids: NDArray[Any]
    stored: np.ndarray


class Store(Protocol):
    """Hold codes under one name in one store. A method that changes something does all of it or nothing."""

    title: ClassVar[str]
    kinds: ClassVar[Sequence[Kind]]
    named: ClassVar[bool]
    """Whether a place holds several collections by name."""
    ranks_exactly: bool
    """Whether it ranks half and int8 columns by a float query; if not, the rows found are scored again."""

    def stamp(self) -> Stamp | None:
        """Return the stamp; None if the name is free."""
        ...

    def create(self, column: Column, stamp: Stamp, blocks: Iterator[Rows], index: bool) -> None:
        """Write all rows under a name that is free, and build an index if one is asked for."""
        ...

    def append(self, column: Column, blocks: Iterator[Rows]) -> None:
        """Write further rows."""
        ...

    def delete(self, ids: NDArray[Any]) -> int:
        """Delete rows by their ids, and return how many there were."""
        ...

    def search(self, column: Column, asked: np.ndarray, count: int, exact: bool) -> list[NDArray[Any]]:
        """Return for each query the ids of its nearest rows, nearest first, ``count`` of them or as many as there are.

        Args:
            column: How the codes lie.
            asked: What `Column.asked` returned.
            count: Rows to find.
            exact: Whether an index must not be used.
        """
        ...

    def fetch(self, column: Column, ids: NDArray[Any]) -> np.ndarray:
        """Return what is stored for ids, in their order."""
        ...

    def count(self) -> int:
        """Return the number of rows."""
        ...

    def bytes(self) -> int:
        """Return the bytes that the store counts for rows and index."""
        ...

    def close(self) -> None:
        """Give back connections and files."""
        ...


def blocks_of(column: Column, ids: NDArray[Any], codes: NDArray[np.uint8]) -> Iterator[Rows]:
    """Yield codes ``(N, bytes)`` and ids in blocks, as they are stored."""
    for start in range(0, len(codes), BLOCK):
        part = slice(start, start + BLOCK)
        yield Rows(ids[part], column.stored(np.asarray(codes[part])))


def as_ids(values: Sequence[Any], text: bool) -> NDArray[Any]:
    """Return ids as an array of text or of int64."""
    return np.asarray(values, dtype=str if text else np.int64)
