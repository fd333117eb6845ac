# SPDX-License-Identifier: Apache-2.0
"""Ask a store and compare its answers with the codec's own ranking: the live check after loading, and in CI."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.stores.bundle import Bundle
from lightning_monocon.stores.collection import SHORTLIST, Collection

QUERIES = 200
"""Queries that are asked by default."""

_BLOCK = 16  # queries that are scored against all codes at a time
_EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Report:
    """Hold what the check found.

    Attributes:
        queries: Queries that were asked.
        k: Rows asked for each.
        wrong: Queries whose answers differ from the codec's own ranking beyond ties.
        example: What differs for the first of them; empty if none does.
        overlap: Mean share of the codec's own ``k`` nearest rows among the answers.
        through_index: The same when the store's index is used.
        recall: Mean share of the true neighbours by whole vectors among the answers; None if they are unknown.
        bytes_per_row: Bytes that the store counts for a row, index included.
        query_ms: Median time of a query through the index, in milliseconds.
        loaded: Rows of the folder.
        stored: Rows of the store.
    """

    queries: int
    k: int
    wrong: int
    example: str
    overlap: float
    through_index: float
    recall: float | None
    bytes_per_row: float
    query_ms: float
    loaded: int
    stored: int

    @property
    def passed(self) -> bool:
        """Whether no query differs, and the store has as many rows as the folder."""
        return self.wrong == 0 and self.loaded == self.stored


def check(
    collection: Collection,
    bundle: Bundle,
    queries: NDArray[np.float32],
    nearest: NDArray[Any] | None = None,
    k: int = 10,
    shortlist: int = SHORTLIST,
) -> Report:
    """Ask float queries ``(Q, D)`` of a store that was loaded from a bundle, and compare.

    Without an index the rows must be those that the codec ranks first, apart from rows whose scores are equal within
    the rounding of the store's arithmetic. Where the store ranks by bits or by a rounded query, its shortlist must be
    that of the same ranking done here, and the answers the best of it by the codec.

    Args:
        collection: The store.
        bundle: What was loaded.
        queries: Embeddings that search.
        nearest: ``(Q, k)`` ids of their true neighbours, if they are known.
        k: Rows to ask for.
        shortlist: Rows that are scored again where the store ranks by bits.

    Raises:
        ValueError: If there are no queries, or no rows.
    """
    if not len(bundle):
        raise ValueError("`bundle` must hold a row to be checked; it holds none.")
    if not len(queries):
        raise ValueError("`--queries` must hold a query at least; it holds none.")
    k = min(k, len(bundle))
    begun = time.perf_counter()
    indexed = [found.ids for found in collection.search(queries, k, shortlist)]
    elapsed = time.perf_counter() - begun
    exact = [found.ids for found in collection.search(queries, k, shortlist, exact=True)]
    best, faults = _compared(collection, bundle, queries, exact, k, max(k, shortlist))
    wrong, stored = [fault for fault in faults if fault], collection.store.count()
    return Report(
        len(queries),
        k,
        len(wrong),
        wrong[0] if wrong else "",
        _shared(exact, best),
        _shared(indexed, best),
        None if nearest is None else _shared(indexed, [row[:k] for row in nearest]),
        collection.store.bytes() / max(1, stored),
        1e3 * elapsed / len(queries),
        len(bundle),
        stored,
    )


def _compared(
    collection: Collection, bundle: Bundle, queries: NDArray[Any], exact: list[NDArray[Any]], k: int, shortlist: int
) -> tuple[list[NDArray[Any]], list[str]]:
    """Return for each query the codec's own ``k`` nearest ids, and what is wrong with the store's answer."""
    places = {one: place for place, one in enumerate(bundle.ids.tolist())}
    best, faults = [], []
    for start in range(0, len(queries), _BLOCK):
        asked = queries[start : start + _BLOCK]
        own: NDArray[np.float32] = bundle.codec.score(asked, np.asarray(bundle.codes))
        best += [bundle.ids[np.lexsort((bundle.ids, -scores))[:k]] for scores in own]
        if collection.rescored:
            faults += _shortlist_faults(collection, bundle, asked, places, shortlist)
        else:
            found = exact[start : start + _BLOCK]
            slack = _slack(collection, own)
            faults += [_fault(ids, scores, places, k, slack) for ids, scores in zip(found, own, strict=True)]
    return best, faults


def _fault(ids: NDArray[Any], scores: NDArray[Any], places: Mapping[Any, int], k: int, slack: float) -> str:
    """Return what is wrong with the rows that a store gave for one query; empty if nothing is.

    Args:
        ids: What it gave, nearest first.
        scores: ``(N,)`` scores of all rows, done here.
        places: Row number of each id.
        k: Rows asked for.
        slack: Difference of scores within which rows are equal.
    """
    wanted = min(k, len(scores))
    if len(ids) != wanted or len(set(ids.tolist())) != wanted:
        return f"{wanted} rows were asked for and {len(set(ids.tolist()))} came"
    if strangers := [one for one in ids.tolist() if one not in places]:
        return f"row {strangers[0]} is not among those that were loaded"
    given = scores[[places[one] for one in ids.tolist()]]
    least = np.partition(scores, -wanted)[-wanted]
    if given.min() < least - slack:
        return (
            f"row {ids[given.argmin()]} came, whose score {given.min():.6f} is below {least:.6f}, that of the last of "
            f"the {wanted} nearest"
        )
    if np.any(np.diff(given) > slack):
        return f"the rows came in another order, {ids.tolist()}"
    return ""


def _shortlist_faults(
    collection: Collection, bundle: Bundle, queries: NDArray[Any], places: Mapping[Any, int], count: int
) -> list[str]:
    """Return what is wrong with the store's own ranking of bits, or of rounded queries, for each query."""
    column = collection.column
    asked = column.asked(queries, collection.store.ranks_exactly)
    found = collection.store.search(column, asked, count, exact=True)
    codes = np.asarray(bundle.codes)
    faults = []
    for query, ids in zip(asked, found, strict=True):
        if column.kind == "bit":
            scores = -np.unpackbits(codes ^ query, axis=1).sum(1, dtype=np.float64)
            slack = 0.5
        else:
            stored = column.stored(codes).astype(np.float64)
            length = np.linalg.norm(stored, axis=1) * np.linalg.norm(query.astype(np.float64))
            scores = stored @ query.astype(np.float64) / np.maximum(length, _EPS)
            slack = 4 * column.width * _EPS
        faults.append(_fault(ids, scores, places, count, slack))
    return faults


def _slack(collection: Collection, scores: NDArray[Any]) -> float:
    """Return the rounding of a store's scores: of float32 sums, and of a query that pgvector rounds to float16."""
    rounding = 4 * collection.column.width * _EPS + (2.0**-10 if collection.column.kind == "half" else 0.0)
    return rounding * max(1.0, float(np.abs(scores).max())) if collection.column.metric == "dot" else rounding


def _shared(found: list[NDArray[Any]], best: list[NDArray[Any]]) -> float:
    """Return the mean share of the second rows among the first."""
    return float(np.mean([np.isin(second, first).mean() for first, second in zip(found, best, strict=True)]))
