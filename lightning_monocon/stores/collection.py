# SPDX-License-Identifier: Apache-2.0
"""Search codes in a store by float queries of the same space, and change them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.codes import Codec
from lightning_monocon.functional.named_argument import named
from lightning_monocon.inference.row_ids import check_ids
from lightning_monocon.stores.columns import Column, column_of
from lightning_monocon.stores.store import Stamp, Store, blocks_of

SHORTLIST = 200
"""Rows that are scored again where the store ranks by bits or by rounded queries."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Hold what a query found.

    Attributes:
        ids: ``(k,)`` ids, nearest first; equal scores are in the order of ids. Fewer if the store has fewer.
        scores: ``(k,)`` float32 scores of the codec.
    """

    ids: NDArray[Any]
    scores: NDArray[np.float32] = field(repr=False)


class Collection:
    """Search one column of a store whose stamp is that of the codec.

    Args:
        store: Where the codes are.
        codec: What encoded them.
        stamp: Stamp of the codec.

    Raises:
        ValueError: If the store has no such column, or its codes are of another space.
    """

    def __init__(self, store: Store, codec: Codec, stamp: str) -> None:
        self.store = store
        self.column: Column = column_of(codec, store.kinds, store.title)
        held = store.stamp()
        if held is None:
            raise ValueError("`--into` must hold codes; there are none under this name: load them first.")
        if held.codec != stamp:
            raise ValueError(
                f"`--into` must hold codes of the same space; they are of {held.name} with the stamp "
                f"{held.codec[:12]}, the codec {codec.name} has {stamp[:12]}: use the codec that encoded them."
            )
        self.stamp: Stamp = held

    def search(
        self, queries: NDArray[Any], k: int = 10, shortlist: int = SHORTLIST, exact: bool = False
    ) -> list[Answers]:
        """Return the ``k`` nearest rows of float queries ``(Q, D)``.

        Args:
            queries: Embeddings of the space that the codec was fitted on.
            k: Rows to find.
            shortlist: Rows that the store is asked for where the codec scores them again.
            exact: Whether an index must not be used.
        """
        count = max(k, shortlist) if self.rescored else k
        found = self.store.search(self.column, self.column.asked(queries, self.store.ranks_exactly), count, exact)
        return [self._ranked(query, ids, k) for query, ids in zip(queries, found, strict=True)]

    @property
    def rescored(self) -> bool:
        """Whether the rows that the store finds are scored again."""
        return self.column.kind == "bit" or not self.store.ranks_exactly

    def append(self, ids: NDArray[Any], codes: NDArray[np.uint8]) -> None:
        """Add rows in one transaction.

        Raises:
            ValueError: If an id is of another type or already there, or the codes are of another width or number;
                nothing is written then.
        """
        ids, width = self.held(ids), self.column.codec.bytes_per_vector
        if codes.dtype != np.uint8 or codes.shape != (len(ids), width):
            raise ValueError(
                f"`codes` must be ({len(ids)}, {width}) uint8, one of each id; got {codes.shape} {codes.dtype}: encode "
                "the rows with the codec of the store."
            )
        with named("rows", "OUT"):
            self.store.append(self.column, blocks_of(self.column, ids, codes))

    def delete(self, ids: NDArray[Any]) -> int:
        """Delete rows by their ids in one transaction, and return how many there were.

        Raises:
            ValueError: If an id occurs twice or is of another type; nothing is deleted then.
        """
        held = self.held(ids)
        return self.store.delete(held) if len(held) else 0

    def held(self, ids: NDArray[Any]) -> NDArray[Any]:
        """Return ids as the store holds them, text or int64.

        Raises:
            ValueError: If an id occurs twice or is of another type.
        """
        if not len(ids):
            return np.empty(0, str if self.stamp.ids == "text" else np.int64)
        check_ids("ids", ids)
        kind = "text" if ids.dtype.kind == "U" else "int"
        if kind != self.stamp.ids:
            raise ValueError(f"`ids` must be {self.stamp.ids} as those in the store; got {kind}.")
        found: NDArray[Any] = ids if kind == "text" else ids.astype(np.int64)
        return found

    def _ranked(self, query: NDArray[Any], ids: NDArray[Any], k: int) -> Answers:
        if not len(ids):
            return Answers(ids, np.empty(0, np.float32))
        scores = self.column.codec.score(query[None], self.column.codes(self.store.fetch(self.column, ids)))[0]
        order = np.lexsort((ids, -scores))[:k]
        return Answers(ids[order], scores[order])
