# SPDX-License-Identifier: Apache-2.0
"""Say what is known of rows that have no classes, so that a comparison can judge embeddings of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor
from torch.utils.data import DataLoader


class ScoredRows(NamedTuple):
    """Hold pairs of rows and the score of each pair.

    Attributes:
        loader: Batches ``(inputs, labels)`` in any order; the rows of pair ``i`` have the labels ``2 i``, ``2 i + 1``.
        scores: ``(P,)`` float64, larger for pairs that are more alike.
    """

    loader: DataLoader[Any]
    scores: Tensor


class Judged(NamedTuple):
    """Hold a search whose answers are known, and scored pairs.

    Attributes:
        name: How tables call the search.
        gallery: Batches ``(inputs, labels)`` of the rows that are searched, in any order; the labels number the rows.
        query: The same of the rows that search.
        answers: ``(P, 2)`` int64, a query and a gallery row that answers it.
        same: ``(E, 2)`` int64, a query and the gallery row that is the query itself, which it must not find.
        scored: Sets of scored pairs by their names in tables.
    """

    name: str
    gallery: DataLoader[Any]
    query: DataLoader[Any]
    answers: Tensor
    same: Tensor
    scored: Mapping[str, ScoredRows]


@runtime_checkable
class JudgedData(Protocol):
    """Describe a data module without classes that `monocon compare` can judge arms by, as `SentencePairs` is."""

    def judged(self) -> Judged:
        """Return the rows to judge by, after `setup`."""
        ...
