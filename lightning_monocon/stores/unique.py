# SPDX-License-Identifier: Apache-2.0
"""Refuse an id that occurs twice, for stores that would take it or overwrite a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from lightning_monocon.stores.store import Rows


class Unique(Iterator[Rows]):
    """Pass blocks of rows on, and stop at an id that was there before.

    Args:
        blocks: The rows.
        place: What the error calls the store.
        known: Returns those of some ids that the store holds.

    Attributes:
        fault: The error that it raised, which a library may hide in one of its own.
    """

    def __init__(
        self, blocks: Iterator[Rows], place: str, known: Callable[[NDArray[Any]], Sequence[Any]] | None = None
    ) -> None:
        self._blocks, self._place, self._known = blocks, place, known
        self._seen: set[Any] = set()
        self.fault: ValueError | None = None

    def __next__(self) -> Rows:
        """Return the next block.

        Raises:
            ValueError: If an id occurs twice or is known.
        """
        rows = next(self._blocks)
        before = len(self._seen)
        self._seen.update(rows.ids.tolist())
        if len(self._seen) < before + len(rows.ids) or (self._known is not None and self._known(rows.ids)):
            self.fault = ValueError(
                f"`OUT` must hold ids that the store has not; {self._place} has one of them already. Delete those "
                "rows first."
            )
            raise self.fault
        return rows
